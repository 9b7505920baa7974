"""One Parquet file or a folder of them, read by column and row position.

Keys are read first, then only the rows that are wanted: what a pass holds in memory is the keys
and one piece. Two files of a folder may have other columns; a column that a file lacks is null in
its rows.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import plain, to_microseconds
from feast_fusion.parquet.parquet_file import ParquetFile, RowGroup
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
    def _times(self) -> set[str]:
        """The time columns, as named in the files."""
        return {self._stored[name] for name in self.times if self.has(name)}

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
        return TIMESTAMP if self._stored[column] in self._times else self.stored_type(column)

    def stored_type(self, column: str) -> pa.DataType:
        """The type that the files have for `column`, in its plain form."""
        return self.schema.field(self._stored[column]).type

    def no_rows(self, columns: Sequence[str]) -> pa.Table:
        """A table without rows of these columns."""
        return pa.schema([(name, self.type_of(name)) for name in columns]).empty_table()

    def fixed_width(self, column: str) -> int:
        """Length of a column that every file stores as a fixed-size list, else 0."""
        widths = {file.fixed_widths.get(self._stored[column], 0) for file in self.files}
        return widths.pop() if len(widths) == 1 else 0

    def keys(
        self,
        columns: Sequence[str],
        timestamp: str,
        window: tuple[int, int] | None,
        among: Collection[int] | None = None,
    ) -> pa.Table:
        """`columns`, `timestamp` and `__position` of the rows with a time in `window`.

        Both ends of the window (microseconds) are in it; None is all rows. A null time is in no
        window. Row groups whose statistics put all times outside are not read, nor those of each
        file whose number is not in `among`.
        """
        names = list(dict.fromkeys([*columns, timestamp]))
        self._require(names)
        parts = [self.no_rows(names).append_column(POSITION, pa.array([], pa.int64()))]
        for file, start in zip(self.files, self.starts.tolist(), strict=False):
            groups = [g for g in file.groups if among is None or g.number in among]
            if window is not None:
                groups = [g for g in groups if g.may_hold(self._stored[timestamp], *window)]
            for first, table in self._scan(file, groups, names, _KEY_ROWS, use_threads=True):
                at = np.arange(start + first, start + first + len(table))
                table = table.append_column(POSITION, pa.array(at, pa.int64()))
                parts.append(within(table, timestamp, window))
        return pa.concat_tables(parts)

    def span(self, timestamp: str) -> tuple[int, int] | None:
        """Earliest and latest time of all rows, microseconds; None without any.

        Times are read only where the footers do not tell them.
        """
        self._require([timestamp])
        spans: list[tuple[int, int]] = []
        for file in self.files:
            told = [group.span(self._stored[timestamp]) for group in file.groups]
            spans += [span for span in told if span is not None]
            untold = [group for group, span in zip(file.groups, told, strict=True) if span is None]
            for _, table in self._scan(file, untold, [timestamp], _KEY_ROWS, use_threads=True):
                ends = pc.min_max(table.column(timestamp).cast(pa.int64())).as_py()
                if ends["min"] is not None:
                    spans.append((ends["min"], ends["max"]))
        if not spans:
            return None
        return min(first for first, _ in spans), max(last for _, last in spans)

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

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Every row of `columns`; None is every column."""
        names = self.columns if columns is None else columns
        parts = [piece.table for piece in self.pieces(names, np.arange(self.n_rows))]
        return pa.concat_tables([self.no_rows(names), *parts])

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
        if stored in self._times:
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
