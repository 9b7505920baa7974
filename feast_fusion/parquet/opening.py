"""Opens Parquet files as one source: finds them, reads their footers, agrees on one schema."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from feast.data_source import DataSource
from pyarrow import fs

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import can_be_times
from feast_fusion.parquet.declared_source import is_parquet, is_table, locate
from feast_fusion.parquet.location import ICEBERG, base_of, list_files, partition_of
from feast_fusion.parquet.parquet_file import ParquetFile, read_footer
from feast_fusion.parquet.parquet_source import ParquetSource


def open_source(
    source: DataSource | None, repo_path: str | Path | None, what: str
) -> ParquetSource:
    """The files of a Feast source of Parquet (see `location`), with the columns it declares.

    Of an Iceberg table these are the files of its current snapshot.

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
    roles = {
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column,
    }
    times = tuple(name for name in roles.values() if name)
    mapping = source.field_mapping or {}
    if is_table(source):
        found = _open_table(source.path, what, mapping, times)
    else:
        found = open_files(*locate(source, repo_path), what, mapping, times)
    for role, name in roles.items():
        if name and found.has(name) and not can_be_times(kind := found.stored_type(name)):
            raise schema_error(
                f"{what}, {role} {name!r}",
                got=kind,
                expected="timestamps, dates, or text in the form of ISO 8601",
                remedy="Convert the column, or name another one.",
            )
    return found


def _open_table(
    uri: str, what: str, field_mapping: Mapping[str, str], times: tuple[str, ...]
) -> ParquetSource:
    from feast_fusion.tables.iceberg_source import open_table  # an extra

    return open_table(uri, what, field_mapping, times)


def open_files(
    filesystem: fs.FileSystem,
    root: str,
    what: str,
    field_mapping: Mapping[str, str] | None = None,
    times: tuple[str, ...] = (),
) -> ParquetSource:
    """The Parquet file or folder at `root`; errors as `open_source`, about `what`."""
    found = list_files(filesystem, root, what)
    base = root if any(info.path == root for info in found) else base_of(root)
    files = tuple(read_footer(filesystem, info, partition_of(info.path, base)) for info in found)
    return ParquetSource(what, root, files, _shared_schema(files), field_mapping or {}, times)


def local_files(path: str | Path, what: str, times: tuple[str, ...] = ()) -> ParquetSource:
    """The Parquet file or folder at a local path; errors as `open_source`."""
    return open_files(fs.LocalFileSystem(), str(path), what, times=times)


def open_path(path: str, what: str) -> ParquetSource:
    """A local path, or an Iceberg table by its URI; errors as `open_source`."""
    return _open_table(path, what, {}, ()) if path.startswith(ICEBERG) else local_files(path, what)


def read_version(path: str) -> tuple[str, ...]:
    """What changes with every write to the local folder or Iceberg table; empty without any."""
    if path.startswith(ICEBERG):
        from feast_fusion.tables.iceberg_source import table_version  # an extra

        return table_version(path)
    return tuple(sorted(file.name for file in Path(path).glob("[!._]*.parquet")))


def has_rows(path: str) -> bool:
    """Whether the local folder or Iceberg table is there and has a row; errors as `open_source`."""
    return bool(read_version(path)) and open_path(path, path).n_rows > 0


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
