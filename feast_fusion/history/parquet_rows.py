"""Rows of a source by position: keys first, then only the rows that are wanted, in batches.

A position counts the rows of a source in scan order, files in name order. Reading keys and
gathering rows are two passes, so what a pass holds in memory is the keys and one batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from feast.infra.offline_stores.file_source import FileSource

from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error
from feast_fusion.history.row_keys import Positions, Window, as_utc, select_keys

_SUFFIXES = {".parquet", ".parq", ".pq"}
_SCAN_ROWS = 65_536
# Without a buffer a column chunk is read whole, and a file may be one chunk of gigabytes.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    modified: object
    row_groups: tuple[int, ...]  # rows of each

    @property
    def n_rows(self) -> int:
        return sum(self.row_groups)


@dataclass(frozen=True)
class ParquetRows:
    """One Parquet file or a folder of them, with the columns renamed as the source declares.

    `timestamps` names the columns that are brought to `timestamp[us, UTC]` (naive is UTC).
    """

    what: str
    filesystem: pafs.FileSystem
    files: tuple[_File, ...]
    file_columns: dict[str, str]  # column -> its name in the files
    timestamps: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, as the source names them."""
        return tuple(self.file_columns)

    def read_keys(self, types: pa.Schema, timestamp: str, window: Window | None) -> pl.DataFrame:
        """The columns of `types`, cast to them, and `__position`, of the rows in `window`.

        Both ends of the window are in it; None is all rows. A null timestamp is in no window.
        """
        names = list(dict.fromkeys([*types.names, timestamp]))
        frames = [select_keys(types.empty_table(), types, None, timestamp, 0, self.what)]
        first = 0
        for file in self.files:
            for table in self._scan(file, names, _SCAN_ROWS, range(len(file.row_groups))):
                frames.append(select_keys(table, types, window, timestamp, first, self.what))
                first += table.num_rows
        return pl.concat(frames)

    def gather(
        self, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The rows at `positions` (ascending) in tables of `batch_rows`, the last may be shorter.

        Files and row groups without a wanted row are not read.
        """
        return _coalesced(self._wanted(columns, positions, batch_rows), batch_rows)

    def _wanted(
        self, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        first = 0
        for file in self.files:
            inside = positions[slice(*np.searchsorted(positions, [first, first + file.n_rows]))]
            if len(inside):
                yield from self._wanted_of_file(file, columns, inside - first, batch_rows)
            first += file.n_rows

    def _wanted_of_file(
        self, file: _File, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        wanted = np.zeros(file.n_rows, dtype=np.bool_)
        wanted[positions] = True
        starts = np.concatenate([[0], np.cumsum(file.row_groups)])
        n_wanted = np.diff(np.searchsorted(positions, starts))  # (n_row_groups,)
        wanted = wanted[np.repeat(n_wanted > 0, file.row_groups)]
        first = 0
        groups = [int(group) for group in np.flatnonzero(n_wanted)]
        for table in self._scan(file, columns, batch_rows, groups):
            mask = wanted[first : first + table.num_rows]
            first += table.num_rows
            if mask.any():
                yield table if mask.all() else table.filter(pa.array(mask))

    def _scan(
        self, file: _File, columns: Sequence[str], batch_rows: int, row_groups: Sequence[int]
    ) -> Iterator[pa.Table]:
        """The row groups of `file` as tables with `columns`, never more than a batch in memory."""
        self._refuse_change(file)
        missing = [name for name in columns if name not in self.file_columns]
        if missing:
            raise schema_error(
                self.what,
                got=f"columns {list(self.columns)}",
                expected=f"also {missing}",
                remedy="Correct the source's columns, its field_mapping or the view's schema.",
            )
        names = [self.file_columns[name] for name in columns]
        try:
            with (
                self.filesystem.open_input_file(file.path) as opened,
                pq.ParquetFile(
                    opened, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us"
                ) as parquet,
            ):
                for run in _runs(row_groups, file.row_groups, batch_rows):
                    for batch in parquet.iter_batches(batch_rows, run, columns=names):
                        yield self._renamed(pa.Table.from_batches([batch]).select(names), columns)
        except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, OSError) as error:
            raise SchemaError(
                f"{self.what}: got a file that cannot be read, {file.path} ({error}), expected "
                f"Parquet with the columns {names}. Restore or remove this file."
            ) from error

    def _renamed(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        table = table.rename_columns(list(columns))
        for name in self.timestamps:
            if name in columns:
                index = table.column_names.index(name)
                table = table.set_column(index, name, as_utc(table.column(name), self.what, name))
        return table

    def _refuse_change(self, file: _File) -> None:
        info = self.filesystem.get_file_info(file.path)
        if (info.size, info.mtime_ns) != (file.size, file.modified):
            raise StoreUnavailableError(
                f"{self.what}: got a file that changed while it was read, {file.path}, expected "
                "the same file in both passes. Run the command again; finished rows are kept."
            )


@dataclass(frozen=True)
class TableRows:
    """Rows that an offline store returned as one table; held in memory whole."""

    what: str
    table: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, as the source names them."""
        return tuple(self.table.column_names)

    def read_keys(self, types: pa.Schema, timestamp: str, window: Window | None) -> pl.DataFrame:
        """The columns of `types`, cast to them, and `__position`, of the rows in `window`."""
        return select_keys(self.table, types, window, timestamp, 0, self.what)

    def gather(
        self, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The rows at `positions` (ascending), in tables of at most `batch_rows`."""
        for first in range(0, len(positions), batch_rows):
            rows = pa.array(positions[first : first + batch_rows])
            yield self.table.select(list(columns)).take(rows)


Rows = ParquetRows | TableRows


def open_parquet(what: str, source: FileSource, repo_path: object) -> ParquetRows:
    """The rows of a Parquet `FileSource`; a relative path is resolved against `repo_path`.

    Raises
    ------
    StoreUnavailableError
        There is no such file or folder.
    SchemaError
        It holds no Parquet file, or one that cannot be read.
    """
    uri = FileSource.get_uri_for_file_path(repo_path, source.path)
    filesystem, path = FileSource.create_filesystem_and_path(
        uri, source.s3_endpoint_override, source.resolve_credentials()
    )
    if filesystem is None and "://" in path:
        filesystem, path = pafs.FileSystem.from_uri(path)
    return read_layout(
        what,
        filesystem or pafs.LocalFileSystem(),
        path,
        dict(source.field_mapping or {}),
        tuple(name for name in (source.timestamp_field, source.created_timestamp_column) if name),
    )


def read_layout(
    what: str,
    filesystem: pafs.FileSystem,
    path: str,
    field_mapping: dict[str, str],
    timestamps: tuple[str, ...],
) -> ParquetRows:
    """`ParquetRows` of the file or folder at `path`; columns are those of the first file."""
    infos = _parquet_files(what, filesystem, path)
    files: list[_File] = []
    names: list[str] | None = None
    for info in infos:
        try:
            with filesystem.open_input_file(info.path) as opened:
                metadata = pq.read_metadata(opened)
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(
                f"{what}: got a file that is not Parquet, {info.path} ({error}), expected "
                "Parquet. Restore or remove this file."
            ) from error
        names = metadata.schema.to_arrow_schema().names if names is None else names
        groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        files.append(_File(info.path, info.size, info.mtime_ns, groups))
    columns = {field_mapping.get(name, name): name for name in names or []}
    return ParquetRows(what, filesystem, tuple(files), columns, timestamps)


def _parquet_files(what: str, filesystem: pafs.FileSystem, path: str) -> list[Any]:
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise StoreUnavailableError(
            f"{what}: got no file at {path}, expected Parquet. Create it, or correct the path "
            "of the source."
        )
    if info.type == pafs.FileType.File:
        return [info]
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    files = [file for file in found if _is_data(file, path)]
    if not files:
        raise schema_error(
            f"{what}, folder {path}",
            got="no Parquet file",
            expected="at least one",
            remedy="Write one (it may be empty), or correct the path of the source.",
        )
    return sorted(files, key=lambda file: file.path)


def _is_data(info: Any, root: str) -> bool:
    inside = PurePosixPath(info.path).relative_to(PurePosixPath(root))
    hidden = any(part.startswith((".", "_")) for part in inside.parts)
    return info.type == pafs.FileType.File and not hidden and inside.suffix in _SUFFIXES


def _runs(row_groups: Sequence[int], n_rows: Sequence[int], batch_rows: int) -> Iterator[list[int]]:
    """Row groups to read with one iterator, which holds on to all that it has read of them.

    As many as have `batch_rows` rows together, at least one.
    """
    run: list[int] = []
    n_run = 0
    for group in row_groups:
        if run and n_run + n_rows[group] > batch_rows:
            yield run
            run, n_run = [], 0
        run.append(group)
        n_run += n_rows[group]
    if run:
        yield run


def _coalesced(tables: Iterator[pa.Table], batch_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly `batch_rows` rows, the last may be shorter."""
    pending: list[pa.Table] = []
    n_pending = 0
    for table in tables:
        pending.append(table)
        n_pending += table.num_rows
        while n_pending >= batch_rows:
            joined = pa.concat_tables(pending, promote_options="permissive")
            yield joined.slice(0, batch_rows)
            n_pending -= batch_rows
            # A slice without rows would still hold all of `joined` in memory.
            pending = [joined.slice(batch_rows)] if n_pending else []
    if n_pending:
        yield pa.concat_tables(pending, promote_options="permissive")
