"""One Parquet file: its footer, what its row groups can hold, and whether it is unchanged."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError, schema_error
from feast_fusion.parquet.column_types import plain_type
from feast_fusion.parquet.location import retired_path
from feast_fusion.parquet.seal import REMEDY, require_seal
from feast_fusion.times import to_micros

_BUFFER_BYTES = 1 << 20  # without a buffer a column chunk is read whole, which can be gigabytes
_MAGIC = b"PAR1"
_OTHER_FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".json": "JSON",
    ".jsonl": "JSON",
    ".ndjson": "JSON",
    ".avro": "Avro",
    ".orc": "ORC",
    ".arrow": "Arrow IPC",
    ".feather": "Feather",
    ".xlsx": "Excel",
}
_ROUNDING_US = 1_000  # statistics may be coarser or finer than a microsecond


@dataclass(frozen=True)
class RowGroup:
    """Row group `number` of a file; its first row is row `first` of the file."""

    metadata: pq.RowGroupMetaData
    number: int
    first: int
    leaves: dict[str, int]

    @property
    def n_rows(self) -> int:
        """Rows of the group."""
        return int(self.metadata.num_rows)

    def may_hold(self, column: str, earliest: int, latest: int) -> bool:
        """Whether a time of `column` can lie within `[earliest, latest]`, microseconds."""
        span = self.span(column)
        return span is None or (
            span[0] - _ROUNDING_US <= latest and span[1] + _ROUNDING_US >= earliest
        )

    def span(self, column: str) -> tuple[int, int] | None:
        """Earliest and latest time of `column`, microseconds; None where the footer has none."""
        if column not in self.leaves:
            return None
        statistics = self.metadata.column(self.leaves[column]).statistics
        try:
            if statistics is None or not statistics.has_min_max:
                return None
            low, high = statistics.min, statistics.max
        except (OverflowError, ValueError):  # a time that Python's datetime cannot hold
            return None
        if not (isinstance(low, datetime) and isinstance(high, datetime)):
            return None  # dates, text
        return to_micros(low), to_micros(high)

    def bytes_per_row(self, columns: Collection[str]) -> int:
        """Uncompressed size of one row of `columns`, at least 1."""
        size = sum(
            self.metadata.column(i).total_uncompressed_size
            for leaf, i in self.leaves.items()
            if leaf in columns or leaf.split(".", 1)[0] in columns
        )
        return int(max(1, size // max(1, self.n_rows)))


@dataclass(frozen=True)
class ParquetFile:
    """A file whose footer has been read.

    Parameters
    ----------
    stamp : size and modification time when the footer was read
    partition : columns that the folder names give, `key=value`
    """

    filesystem: fs.FileSystem
    path: str
    stamp: tuple[int, int]
    metadata: pq.FileMetaData
    partition: dict[str, str | None]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns in their plain types."""
        return pa.schema([(field.name, plain_type(field.type)) for field in self._found])

    @cached_property
    def fixed_widths(self) -> dict[str, int]:
        """Length of each column stored as a fixed-size list."""
        fixed = (field for field in self._found if pa.types.is_fixed_size_list(field.type))
        return {field.name: field.type.list_size for field in fixed}

    @cached_property
    def _found(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    @cached_property
    def groups(self) -> list[RowGroup]:
        """The row groups in file order."""
        groups, first = [], 0
        for number in range(self.metadata.num_row_groups):
            metadata = self.metadata.row_group(number)
            groups.append(RowGroup(metadata, number, first, self._leaves))
            first += metadata.num_rows
        return groups

    @cached_property
    def _leaves(self) -> dict[str, int]:
        """Number of each physical column by its dotted path."""
        schema = self.metadata.schema
        return {schema.column(i).path: i for i in range(len(schema))}

    @property
    def n_rows(self) -> int:
        """Rows of the file."""
        return int(self.metadata.num_rows)

    def scan(
        self, groups: Sequence[RowGroup], columns: Sequence[str], n_rows: int, *, use_threads: bool
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of at most `n_rows` rows of `groups`, each with the number of its first row.

        Raises
        ------
        StoreUnavailableError
            The file is gone, or another one took its place since the footer was read.
        SchemaError
            The file is damaged.
        """
        if not groups:
            return
        with named_errors(self.path), self._open() as opened:
            for run in _runs(groups, n_rows):
                first = run[0].first
                numbers = [group.number for group in run]
                for batch in opened.iter_batches(n_rows, numbers, columns, use_threads=use_threads):
                    yield first, batch
                    first += batch.num_rows

    def _open(self) -> pq.ParquetFile:
        return pq.ParquetFile(
            self._unchanged_path(),
            metadata=self.metadata,
            filesystem=self.filesystem,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",
            page_checksum_verification=True,
        )

    def _unchanged_path(self) -> str:
        for path in (self.path, retired_path(self.path)):
            if stamp_of(self.filesystem.get_file_info(path)) == self.stamp:
                return path
        raise StoreUnavailableError(
            f"{self.path}: got a file that was removed or replaced while it was read, expected "
            "it unchanged. Do the same again; what is finished is kept."
        )


def read_footer(
    filesystem: fs.FileSystem, info: fs.FileInfo, partition: dict[str, str | None]
) -> ParquetFile:
    """The file at `info`; errors as `ParquetFile.scan`."""
    with named_errors(info.path):
        _refuse_other_format(filesystem, info)
        if isinstance(filesystem, fs.LocalFileSystem):
            require_seal(info.path)
        metadata = pq.read_metadata(info.path, filesystem=filesystem)
    return ParquetFile(filesystem, info.path, stamp_of(info), metadata, partition)


def _refuse_other_format(filesystem: fs.FileSystem, info: fs.FileInfo) -> None:
    suffix = PurePosixPath(info.path).suffix.lower()
    kind = _OTHER_FORMATS.get(suffix)
    if kind is None:
        return
    with filesystem.open_input_stream(info.path) as stream:
        is_parquet = stream.read(len(_MAGIC)) == _MAGIC
    if not is_parquet:
        raise schema_error(
            info.path,
            got=f"a {kind} file",
            expected="a Parquet file",
            remedy="Write it as Parquet, for instance with polars or pandas, and name that file.",
        )


@contextmanager
def named_errors(path: str) -> Iterator[None]:
    """Turns what Arrow raises about a broken file into an error that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise StoreUnavailableError(
            f"{path}: got no such file, expected a Parquet file. Write it again."
        ) from error
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, StoreUnavailableError):
            raise
        raise schema_error(
            path,
            got=" ".join(f"{type(error).__name__}: {error}".split()),
            expected="a whole, readable Parquet file",
            remedy=REMEDY,
        ) from error


def _runs(groups: Sequence[RowGroup], n_rows: int) -> Iterator[list[RowGroup]]:
    """Adjacent row groups to read with one iterator: at least one, of `n_rows` rows together.

    An iterator holds on to all that it has read.
    """
    run: list[RowGroup] = []
    for group in groups:
        is_adjacent = bool(run) and group.number == run[-1].number + 1
        if run and not (is_adjacent and sum(g.n_rows for g in run) + group.n_rows <= n_rows):
            yield run
            run = []
        run.append(group)
    if run:
        yield run


def stamp_of(info: fs.FileInfo) -> tuple[int, int]:
    """What tells a replaced file from the same one: size and modification time in ns."""
    return int(info.size or 0), int(info.mtime_ns or 0)
