"""What the workers do: sample the order of labels and rows, place them in ranges, match a range.

A frame travels through Spark as one binary value, so its types need not be known there. The
modules that a worker imports leave Feast out, which takes seconds to import.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from feast_fusion.retrieval.asof_join import ABSENT, AsOf, newest_rows
from feast_fusion.retrieval.key_rows import KeyRows
from feast_fusion.retrieval.spark.parts import (
    PART_ROWS,
    LabelPart,
    RowPart,
    StagedLabels,
    packed,
    unpacked,
)
from feast_fusion.retrieval.spark.ranges import (
    RANGE,
    Edges,
    label_places,
    label_ranges,
    row_places,
    row_ranges,
)

SAMPLED = "payload binary"
PLACED = f"{RANGE} long, is_label boolean, payload binary"
MATCHED = "n_hidden long, payload binary"

Part = LabelPart | StagedLabels | RowPart
_Batches = Iterable[pa.RecordBatch]
_Task = Callable[[_Batches], Iterator[pa.RecordBatch]]


@dataclass(frozen=True)
class ViewTasks:
    """The tasks of one view.

    Parameters
    ----------
    rows : how its source is read; a part brings the files
    window : earliest and latest time that a label may see, microseconds
    """

    rows: KeyRows
    window: tuple[int, int]
    rule: AsOf

    def sample(self, one_in: int) -> _Task:
        """Parts to `payload`: one of so many places in the order, drawn at random."""

        def sample(batches: _Batches) -> Iterator[pa.RecordBatch]:
            rng = np.random.default_rng(0)
            for is_label, frame in self._frames(batches):
                for places in self._places(frame, is_label=is_label):
                    is_taken = pl.Series(rng.random(len(places)) * one_in < 1)
                    taken = packed(places.filter(is_taken).drop_nulls())
                    yield pa.RecordBatch.from_pydict({"payload": [taken]})

        return sample

    def place(self, edges: Edges) -> _Task:
        """Parts to `range`, `is_label` and `payload`, the labels or rows of a range."""

        def place(batches: _Batches) -> Iterator[pa.RecordBatch]:
            for is_label, frame in self._frames(batches):
                if is_label:
                    placed = label_ranges(frame, self.rows.names, edges)
                else:
                    placed = row_ranges(frame, self.rows.names, self.rule, edges)
                for (number,), part in placed.partition_by(
                    RANGE, include_key=False, as_dict=True
                ).items():
                    cells = {RANGE: [number], "is_label": [is_label], "payload": [packed(part)]}
                    yield pa.RecordBatch.from_pydict(cells)

        return place

    def match(self) -> Callable[[pa.Table], pa.Table]:
        """What was placed in one range to `n_hidden` and `payload`, pairs of `row`, `position`."""

        def match(group: pa.Table) -> pa.Table:
            is_label = group.column("is_label").to_pylist()
            frames = [unpacked(value.as_py()) for value in group.column("payload")]
            labels = [frame for frame, its in zip(frames, is_label, strict=True) if its]
            rows = [frame for frame, its in zip(frames, is_label, strict=True) if not its]
            found: dict[str, list[int | bytes]] = {"n_hidden": [], "payload": []}
            if labels and rows:
                asked = pl.concat(labels)
                newest = newest_rows(asked, pl.concat(rows), self.rows.names, self.rule)
                pairs = asked.select("row", pl.Series("position", newest.positions))
                found["n_hidden"].append(newest.n_hidden)
                found["payload"].append(packed(pairs.filter(pl.col("position") != ABSENT)))
            schema = pa.schema({"n_hidden": pa.int64(), "payload": pa.binary()})
            return pa.table(found, schema)

        return match

    def _frames(self, batches: _Batches) -> Iterator[tuple[bool, pl.DataFrame]]:
        """Labels, or rows, of the parts in a column of pickles: some `PART_ROWS` at once."""
        pending: dict[bool, list[pl.DataFrame]] = {True: [], False: []}
        for value in (value for batch in batches for value in batch.column(0)):
            part: Part = pickle.loads(value.as_py())
            is_label = not isinstance(part, RowPart)
            frames = pending[is_label]
            frames.append(part.frame(self.rows, self.window))
            if sum(map(len, frames)) >= PART_ROWS:
                yield is_label, pl.concat(frames)
                frames.clear()
        yield from ((its, pl.concat(frames)) for its, frames in pending.items() if frames)

    def _places(self, frame: pl.DataFrame, *, is_label: bool) -> Sequence[pl.DataFrame]:
        if is_label:
            return [label_places(frame, self.rows.names)]
        return row_places(frame, self.rows.names, self.rule)
