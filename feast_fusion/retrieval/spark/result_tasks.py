"""What the workers do to write a result: each a part of the entity rows, with their values."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import fs

from feast_fusion.parquet.parts import write_remote
from feast_fusion.retrieval.asof_join import ABSENT
from feast_fusion.retrieval.feature_columns import arrow_columns
from feast_fusion.retrieval.feature_join import FeatureJoin, Matched
from feast_fusion.retrieval.spark.parts import FileName, packed, unpacked

RESULT_ROWS = 1 << 16  # entity rows of one file of a result
SPLIT = "part long, view long, n_hidden long, payload binary"
WRITTEN = "part long, view long, n_hidden long, n_rows long"
ENTITIES = "entities.parquet"


@dataclass(frozen=True)
class ViewValues:
    """A view whose values are gathered: its plan without files, and the names of the files."""

    join: FeatureJoin
    files: tuple[FileName, ...]

    def columns(self, positions: NDArray[np.int64]) -> dict[str, pa.ChunkedArray]:
        """Each feature for rows that see these positions, as `arrow_columns`.

        Only the files that hold one of them are opened.
        """
        wanted, index = np.unique(positions, return_inverse=True)
        n_absent = int(np.searchsorted(wanted, 0))  # ABSENT is the only negative one
        wanted = wanted[n_absent:]
        firsts = np.array([file.first for file in self.files], np.int64)
        which = np.searchsorted(firsts, wanted, "right") - 1
        used, number = np.unique(which, return_inverse=True)
        files = tuple(self.files[i].open() for i in used)
        source = replace(self.join.source, files=files)
        moved = wanted + (source.starts[:-1] - firsts[used])[number]
        matched = Matched(moved, (index - n_absent).astype(np.int32))
        return arrow_columns(replace(self.join, source=source), matched)


def split(view: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Pairs of `row` and `position` of a view to those of each part of the result."""

    def split(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for cell in (cell for batch in batches for cell in batch.to_pylist()):
            pairs = unpacked(cell["payload"]).with_columns(part=pl.col("row") // RESULT_ROWS)
            parts = pairs.partition_by("part", as_dict=True, include_key=False)
            yield _cells(0, view, cell["n_hidden"], pairs.clear().drop("part"))
            for (part,), found in parts.items():
                yield _cells(part, view, 0, found)

    return split


def _cells(part: int, view: int, n_hidden: int, pairs: pl.DataFrame) -> pa.RecordBatch:
    cells = {"part": part, "view": view, "n_hidden": n_hidden, "payload": packed(pairs)}
    return pa.RecordBatch.from_pylist([cells])


def write_part(
    views: Sequence[ViewValues], filesystem: fs.FileSystem, place: str
) -> Callable[[pa.Table], pa.Table]:
    """All pairs of one part to its file at `place`, where the entity rows lie too."""

    def write(group: pa.Table) -> pa.Table:
        part = group.column("part")[0].as_py()
        with pq.ParquetFile(f"{place}/{ENTITIES}", filesystem=filesystem) as entities:
            rows = entities.read_row_group(part)
        columns = dict(zip(rows.column_names, rows.columns, strict=True))
        cells = group.to_pylist()
        for view, values in enumerate(views):
            positions = np.full(len(rows), ABSENT, np.int64)
            for pairs in (unpacked(c["payload"]) for c in cells if c["view"] == view):
                positions[pairs["row"].to_numpy() % RESULT_ROWS] = pairs["position"].to_numpy()
            columns |= values.columns(positions)
        write_remote(filesystem, f"{place}/{part:010d}.parquet", pa.table(columns))
        n_rows = [len(rows), *[0] * (len(cells) - 1)]
        return group.drop_columns("payload").append_column("n_rows", pa.array(n_rows))

    return write
