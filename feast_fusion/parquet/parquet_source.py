"""One Parquet file or a folder of them, read by column and row position.

Keys are read first, then only the rows that are wanted: what a pass holds in memory is the keys
and one piece. Two files of a folder may have other columns; a column that a file lacks is null in
its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.data_source import DataSource
from numpy.typing import NDArray
from pyarrow import fs

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import can_be_times, plain, to_microseconds
from feast_fusion.parquet.location import is_parquet, list_files, locate, partition_of
from feast_fusion.parquet.parquet_file import ParquetFile, RowGroup, read_footer
from feast_fusion.times import TIMESTAMP

POSITION = "__position"  # the column of a row's place among the rows of its source
Positions = NDArray[np.int64]

_KEY_ROWS = 1 << 16
_PIECE_ROWS = (256, 1 << 16)
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a source and those of them that were asked for.

    Parameters
    ----------
    part : where the rows asked for stand among all that were asked for
    rows : `(n,)` int64, their rows in `table`, rising
    table : the columns of the whole piece
    """

    part: slice
    rows: Positions
    table: pa.Table

    def take(self, columns: Sequence[str]) -> pa.Table:
        """`columns` of the rows asked for."""
        table = self.table.select(columns)
        return table if len(self.rows) == len(table) else table.take(pa.array(self.rows))


@dataclass(frozen=True)
class ParquetSource:
    """The files of a source in name order. Opening reads footers only.

    A row's position counts rows through the files in that order, so a later position is a later
    row.

    Parameters
    ----------
    what : how messages name the source
    schema : columns of all files together, named as in the files
    field_mapping : name in the files -> name in the source
    times : columns brought to `timestamp[us, UTC]`; a finer time is rounded up, so that a row is
        never seen before it happened
    """

    what: str
    path: str
    files: tuple[ParquetFile, ...]
    schema: pa.Schema
    field_mapping: Mapping[str, str]
    times: tuple[str, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns, as the source names them."""
        names = (self.field_mapping.get(name, name) for name in self.schema.names)
        return tuple(dict.fromkeys(names))

    @cached_property
    def _stored(self) -> dict[str, str]:
        """Column -> its name in the files. A column that is mapped hides one of the same name.

        With `field_mapping={"x_clean": "x"}` the column `x` is `x_clean` of the files, whether or
        not they have an `x` too; `x_clean` still finds itself.
        """
        stored = {name: name for name in self.schema.names}
        return stored | {new: old for old, new in self.field_mapping.items() if old in stored}

    @cached_property
    def starts(self) -> Positions:
        """`(n_files + 1,)` position of each file's first row, then the number of rows."""
        return np.cumsum([0, *(file.metadata.num_rows for file in self.files)], dtype=np.int64)

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return int(self.starts[-1])

    def has(self, column: str) -> bool:
        """Whether `column` can be read."""
        return column in self._stored

    def type_of(self, column: str) -> pa.DataType:
        """The type in which `column` is read."""
        return TIMESTAMP if column in self.times else self.stored_type(column)

    def stored_type(self, column: str) -> pa.DataType:
        """The type that the files have for `column`, in its plain form."""
        return self.schema.field(self._stored[column]).type

    def fixed_width(self, column: str) -> int:
        """Length of a column that every file stores as a fixed-size list, else 0."""
        widths = {file.fixed_widths.get(self._stored[column], 0) for file in self.files}
        return widths.pop() if len(widths) == 1 else 0

    def keys(
        self, columns: Sequence[str], timestamp: str, window: tuple[int, int] | None
    ) -> pa.Table:
        """`columns`, `timestamp` and `__position` of the rows with a time in `window`.

        Both ends of the window (microseconds) are in it; None is all rows. A null time is in no
        window. Row groups whose statistics put all times outside are not read.
        """
        names = list(dict.fromkeys([*columns, timestamp]))
        self._require(names)
        empty = pa.schema([(name, self.type_of(name)) for name in names]).empty_table()
        parts = [empty.append_column(POSITION, pa.array([], pa.int64()))]
        for file, start in zip(self.files, self.starts.tolist(), strict=False):
            groups = file.groups
            if window is not None:
                groups = [g for g in groups if g.may_hold(self._stored[timestamp], *window)]
            for first, table in self._scan(file, groups, names, _KEY_ROWS, use_threads=True):
                at = np.arange(start + first, start + first + len(table))
                table = table.append_column(POSITION, pa.array(at, pa.int64()))
                parts.append(within(table, timestamp, window))
        return pa.concat_tables(parts)

    def pieces(self, columns: Sequence[str], positions: Positions) -> Iterator[Piece]:
        """The rows at `positions`, rising and distinct, in pieces of bounded size.

        Only row groups that hold one of them are read.
        """
        self._require(columns)
        for file, start in zip(self.files, self.starts.tolist(), strict=False):
            edges = [start + group.first for group in file.groups] + [start + file.n_rows]
            n_wanted = np.diff(np.searchsorted(positions, edges)).tolist()
            groups = [g for g, n in zip(file.groups, n_wanted, strict=True) if n]
            if groups:
                yield from self._pieces_of(file, start, groups, columns, positions)

    def _pieces_of(
        self,
        file: ParquetFile,
        start: int,
        groups: Sequence[RowGroup],
        columns: Sequence[str],
        positions: Positions,
    ) -> Iterator[Piece]:
        stored = self._in_file(file, columns)
        row_bytes = max(group.bytes_per_row(stored) for group in groups)
        least, most = _PIECE_ROWS
        n_rows = max(least, min(most, _PIECE_BYTES // row_bytes))
        # One thread: decoding a wide list column in parallel is several times slower.
        for first, table in self._scan(file, groups, columns, n_rows, use_threads=False):
            first += start
            low, high = np.searchsorted(positions, [first, first + len(table)]).tolist()
            if low < high:
                yield Piece(slice(low, high), positions[low:high] - first, table)

    def gather(
        self, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The rows at `positions` (rising) in tables of `batch_rows`, the last may be shorter."""
        pending: list[pa.Table] = []
        n_pending = 0
        for piece in self.pieces(columns, positions):
            pending.append(piece.take(columns))
            n_pending += len(pending[-1])
            while n_pending >= batch_rows:
                joined = pa.concat_tables(pending)
                yield joined.slice(0, batch_rows)
                n_pending -= batch_rows
                # A slice without rows would still hold all of `joined` in memory.
                pending = [joined.slice(batch_rows)] if n_pending else []
        if n_pending:
            yield pa.concat_tables(pending)

    def read(self) -> pa.Table:
        """Every row and column."""
        parts = [piece.table for piece in self.pieces(self.columns, np.arange(self.n_rows))]
        empty = pa.schema([(name, self.type_of(name)) for name in self.columns]).empty_table()
        return pa.concat_tables([empty, *parts])

    def _require(self, columns: Sequence[str]) -> None:
        missing = [name for name in columns if not self.has(name)]
        if missing:
            raise schema_error(
                self.what,
                got=f"columns {list(self.columns)}",
                expected=f"also {missing}",
                remedy="Correct the source's columns, its field_mapping or the view's schema.",
            )

    def _in_file(self, file: ParquetFile, columns: Sequence[str]) -> list[str]:
        stored = dict.fromkeys(self._stored[name] for name in columns)
        return [name for name in stored if name in file.schema.names]

    def _scan(
        self,
        file: ParquetFile,
        groups: Sequence[RowGroup],
        columns: Sequence[str],
        n_rows: int,
        *,
        use_threads: bool,
    ) -> Iterator[tuple[int, pa.Table]]:
        stored = self._in_file(file, columns)
        for first, batch in file.scan(groups, stored, n_rows, use_threads=use_threads):
            made = {name: self._column(batch, file, name) for name in columns}
            yield first, pa.table(made)

    def _column(self, batch: pa.RecordBatch, file: ParquetFile, name: str) -> pa.Array:
        stored = self._stored[name]
        if stored in batch.schema.names:
            column = batch.column(stored)
        elif (value := file.partition.get(stored)) is not None:
            column = pa.repeat(pa.scalar(value), len(batch))
        else:
            return pa.nulls(len(batch), self.type_of(name))
        if name in self.times:
            return to_microseconds(column, "up", f"{self.what}, column {name!r}")
        return plain(column, self.type_of(name))


def within(table: pa.Table, timestamp: str, window: tuple[int, int] | None) -> pa.Table:
    """The rows of `table` whose time is in `window` (microseconds, both ends are in it)."""
    if window is None:
        return table
    start, end = (pa.scalar(edge, pa.int64()).cast(TIMESTAMP) for edge in window)
    times = table.column(timestamp)
    mask = pc.and_(pc.greater_equal(times, start), pc.less_equal(times, end))
    return table if pc.all(mask, skip_nulls=False).as_py() else table.filter(mask)


def open_source(
    source: DataSource | None, repo_path: str | Path | None, what: str
) -> ParquetSource:
    """The files of a Feast source of Parquet (see `location`), with the columns it declares.

    Raises
    ------
    StoreUnavailableError
        There is no such file, or the folder holds no Parquet file.
    SchemaError
        The source is of another kind, a file is not whole, two files disagree on a type, or a
        time column holds no times.
    """
    if source is None or not is_parquet(source):
        file_format = getattr(source, "file_format", None)
        raise schema_error(
            what,
            got=f"{type(source).__name__} of format {type(file_format).__name__}",
            expected="a FileSource of Parquet files",
            remedy="Use another offline store for it, or export it to Parquet.",
        )
    filesystem, root = locate(source, repo_path)
    roles = {
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column,
    }
    times = tuple(name for name in roles.values() if name)
    found = open_files(filesystem, root, what, source.field_mapping or {}, times)
    for role, name in roles.items():
        if name and found.has(name) and not can_be_times(kind := found.stored_type(name)):
            raise schema_error(
                f"{what}, {role} {name!r}",
                got=kind,
                expected="timestamps, dates, or text in the form of ISO 8601",
                remedy="Convert the column, or name another one.",
            )
    return found


def open_files(
    filesystem: fs.FileSystem,
    root: str,
    what: str,
    field_mapping: Mapping[str, str] | None = None,
    times: tuple[str, ...] = (),
) -> ParquetSource:
    """The Parquet file or folder at `root`; errors as `open_source`, about `what`."""
    files = tuple(
        read_footer(filesystem, info, partition_of(info.path, root))
        for info in list_files(filesystem, root, what)
    )
    return ParquetSource(what, root, files, _shared_schema(files), field_mapping or {}, times)


def local_files(path: str | Path, what: str, times: tuple[str, ...] = ()) -> ParquetSource:
    """The Parquet file or folder at a local path; errors as `open_source`."""
    return open_files(fs.LocalFileSystem(), str(path), what, times=times)


def _shared_schema(files: Sequence[ParquetFile]) -> pa.Schema:
    shared = pa.schema([])
    for file in files:
        try:
            shared = pa.unify_schemas([shared, file.schema], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise schema_error(
                file.path,
                got=str(error),
                expected="column types of the files before it in the same folder",
                remedy="Write the file again with the folder's schema.",
            ) from error
    for name in dict.fromkeys(key for file in files for key in file.partition):
        if name not in shared.names:
            shared = shared.append(pa.field(name, _partition_type(name, files)))
    return shared


def _partition_type(name: str, files: Sequence[ParquetFile]) -> pa.DataType:
    values = [value for file in files if (value := file.partition.get(name)) is not None]
    return pa.int64() if all(v.lstrip("-").isdigit() for v in values) else pa.string()
