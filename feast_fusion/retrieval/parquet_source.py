"""One Feast file source, a Parquet file or a folder of them, read by column and row position."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from numpy.typing import NDArray
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError, schema_error
from feast_fusion.retrieval.arrow_types import plain, to_microseconds
from feast_fusion.retrieval.parquet_file import ParquetFile, stamp_of

POSITION = "__position"
_BATCH_BYTES = 4 << 20
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a source and those of them that were asked for.

    Parameters
    ----------
    part
        Where the rows asked for stand among all that were asked for.
    rows
        `(n,)` int64, their rows in `table`, rising.
    table
        The columns of the whole piece.
    """

    part: slice
    rows: NDArray[np.int64]
    table: pa.Table

    def take(self, columns: Sequence[str]) -> pa.Table:
        """`columns` of the rows asked for."""
        table = self.table.select(columns)
        return table if len(self.rows) == len(table) else table.take(pa.array(self.rows))


@dataclass(frozen=True)
class ParquetSource:
    """The files of a source in name order, and the one schema they share.

    A row's position counts rows through the files in that order, so a later position is a later
    row. Opening reads footers only.
    """

    path: str
    files: tuple[ParquetFile, ...]
    schema: pa.Schema

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """`(n_files + 1,)` position of each file's first row, then the number of rows."""
        return np.cumsum([0, *(file.metadata.num_rows for file in self.files)], dtype=np.int64)

    @cached_property
    def fixed_widths(self) -> dict[str, int]:
        """Length of each column that every file stores as a fixed-size list."""
        common = set.intersection(*(set(file.fixed_widths.items()) for file in self.files))
        return dict(common)

    @property
    def n_rows(self) -> int:
        """Rows of all files."""
        return int(self.starts[-1])

    def keys(
        self, columns: Sequence[str], times: Sequence[str], earliest: int, latest: int
    ) -> pa.Table:
        """`columns` and `times` of the rows that can lie within `[earliest, latest]`, by position.

        Row groups whose statistics put all of `times[0]` outside are not read. Times are
        microseconds UTC, rounded up: a row is never seen before it happened.
        """
        parts = [
            self._keys_of(file, int(start), columns, times, earliest, latest)
            for file, start in zip(self.files, self.starts, strict=False)
        ]
        return pa.concat_tables(parts)

    def _keys_of(
        self,
        file: ParquetFile,
        start: int,
        columns: Sequence[str],
        times: Sequence[str],
        earliest: int,
        latest: int,
    ) -> pa.Table:
        names = list(dict.fromkeys([*columns, *times]))
        groups = [g for g in file.groups if g.may_hold(times[0], earliest, latest)]
        with named_errors(file.path):
            physical = [name for name in names if name in file.schema.names]
            found = file.open().read_row_groups([g.number for g in groups], columns=physical)
            spans = [np.arange(g.first, g.first + g.n_rows) for g in groups]
            positions = start + np.concatenate([np.empty(0, np.int64), *spans])
            return self._conformed(found, file, len(positions), names, times).append_column(
                POSITION, pa.array(positions, pa.int64())
            )

    def values(self, positions: NDArray[np.int64], columns: Sequence[str]) -> Iterator[Piece]:
        """The rows at `positions`, sorted and distinct, in pieces of bounded size.

        Only row groups that hold one of them are read.
        """
        for file, start in zip(self.files, self.starts, strict=False):
            for group in file.groups:
                first = int(start) + group.first
                low, high = np.searchsorted(positions, [first, first + group.n_rows])
                if low < high:
                    yield from self._values_of(file, group.number, first, positions, columns)

    def _values_of(
        self,
        file: ParquetFile,
        group: int,
        first: int,
        positions: NDArray[np.int64],
        columns: Sequence[str],
    ) -> Iterator[Piece]:
        physical = [name for name in columns if name in file.schema.names]
        rows = max(256, min(1 << 16, _BATCH_BYTES // file.bytes_per_row(group, physical)))
        with named_errors(file.path):
            # One thread: decoding a wide list column in parallel is several times slower.
            batches = file.open().iter_batches(rows, [group], physical, use_threads=False)
            for batch in batches:
                low, high = np.searchsorted(positions, [first, first + batch.num_rows])
                if low < high:
                    found = pa.Table.from_batches([batch])
                    table = self._conformed(found, file, batch.num_rows, columns, ())
                    yield Piece(slice(int(low), int(high)), positions[low:high] - first, table)
                first += batch.num_rows

    def _conformed(
        self,
        found: pa.Table,
        file: ParquetFile,
        n_rows: int,
        columns: Sequence[str],
        times: Collection[str],
    ) -> pa.Table:
        arrays = []
        for name in columns:
            if name not in found.column_names:
                value = file.partition.get(name)
                arrays.append(
                    pa.repeat(pa.scalar(value).cast(self.schema.field(name).type), n_rows)
                )
            elif name in times:
                arrays.append(to_microseconds(found.column(name), "up"))
            else:
                arrays.append(plain(found.column(name), self.schema.field(name).type))
        return pa.table(dict(zip(columns, arrays, strict=True)))


def open_source(source: DataSource | None, repo_path: str | Path | None) -> ParquetSource:
    """The files behind a Feast file source; hidden files and files not named `*.parquet` are not.

    A name that begins with a dot or an underscore is hidden. A relative path starts at the
    repository, as Feast documents it.

    Raises
    ------
    StoreUnavailableError
        There is no such file, or the folder holds no Parquet file.
    SchemaError
        The source is of another kind, a file is not whole, or two files disagree on a type.
    """
    file_format = getattr(source, "file_format", None)
    if not isinstance(source, FileSource) or not isinstance(file_format, ParquetFormat | None):
        raise schema_error(
            f"data source {getattr(source, 'name', None)!r}",
            got=f"{type(source).__name__} of format {type(file_format).__name__}",
            expected="a FileSource of Parquet files",
            remedy="Use another offline store for it, or export it to Parquet.",
        )
    filesystem, root = _locate(source, repo_path)
    return open_files(filesystem, root, f"data source {source.name!r}")


def open_files(filesystem: fs.FileSystem, root: str, what: str) -> ParquetSource:
    """The Parquet file or folder at `root`; errors as `open_source`, about `what`."""
    infos = _list_files(filesystem, root, what)
    files = tuple(_open_file(filesystem, root, info) for info in infos)
    return ParquetSource(root, files, _shared_schema(files))


def local_files(path: str | Path, what: str) -> ParquetSource:
    """The Parquet file or folder at a local path; errors as `open_source`."""
    return open_files(fs.LocalFileSystem(), str(path), what)


def _locate(source: FileSource, repo_path: str | Path | None) -> tuple[fs.FileSystem, str]:
    uri = source.path
    if uri.startswith("s3://"):
        filesystem, path = FileSource.create_filesystem_and_path(
            uri, source.s3_endpoint_override, source.resolve_credentials()
        )
        return filesystem, path
    if "://" in uri:
        filesystem, path = fs.FileSystem.from_uri(uri)
        return filesystem, path
    return fs.LocalFileSystem(), FileSource.get_uri_for_file_path(repo_path, uri)


def _list_files(filesystem: fs.FileSystem, root: str, what: str) -> list[fs.FileInfo]:
    info = filesystem.get_file_info(root)
    if info.type == fs.FileType.Directory:
        inside = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
        found = [i for i in inside if i.is_file and _is_visible(_relative(i.path, root))]
        found.sort(key=lambda i: PurePosixPath(i.path).parts)
    else:
        found = [info] if info.is_file else []
    if not found:
        raise StoreUnavailableError(
            f"{what}: got no Parquet file at {root}, expected a file or a folder of *.parquet. "
            "Write it first, or correct the path of the source."
        )
    return found


def _relative(path: str, root: str) -> PurePosixPath:
    return PurePosixPath(Path(path).as_posix()).relative_to(Path(root).as_posix())


def _is_visible(relative: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "_")) for part in relative.parts)
    return relative.suffix == ".parquet" and not hidden


def _open_file(filesystem: fs.FileSystem, root: str, info: fs.FileInfo) -> ParquetFile:
    with named_errors(info.path):
        metadata = pq.read_metadata(info.path, filesystem=filesystem)
    return ParquetFile(filesystem, info.path, stamp_of(info), metadata, _partition(info.path, root))


def _partition(path: str, root: str) -> dict[str, str | None]:
    """Columns that the folder names between `root` and the file give."""
    folders = _relative(path, root).parts[:-1] if path != root else ()
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {key: None if value == _NULL_PARTITION else unquote(value) for key, value in pairs}


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
            remedy="The file is truncated or damaged: write it again.",
        ) from error
