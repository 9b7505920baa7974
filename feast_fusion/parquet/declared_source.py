"""What a Feast source declares: whether it is Parquet or an Iceberg table, and where it lies."""

from pathlib import Path

from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource
from pyarrow import fs

from feast_fusion.errors import schema_error
from feast_fusion.parquet.location import ICEBERG, file_system_of


def is_parquet(source: DataSource | None) -> bool:
    """Whether `source` is a file source of Parquet files."""
    return isinstance(source, FileSource) and isinstance(source.file_format, ParquetFormat | None)


def is_table(source: DataSource | None) -> bool:
    """Whether `source` names an Iceberg table as its path."""
    return isinstance(source, FileSource) and source.path.startswith(ICEBERG)


def locate(source: FileSource, repo_path: str | Path | None) -> tuple[fs.FileSystem, str]:
    """The file system of a source, and the path there; a relative one starts at the repository."""
    if source.path.startswith("s3://"):
        found: tuple[fs.FileSystem, str] = FileSource.create_filesystem_and_path(
            source.path, source.s3_endpoint_override, source.resolve_credentials()
        )
        return found
    is_uri = "://" in source.path
    return file_system_of(source.path if is_uri else str(Path(repo_path or "") / source.path))


def local_path(target: DataSource, repo_path: str | Path | None, what: str) -> Path:
    """The absolute local path of a source that is written to.

    Raises
    ------
    SchemaError
        The source is of another kind, or lies elsewhere.
    """
    uri = target.path if isinstance(target, FileSource) else repr(target)
    if not is_parquet(target) or ("://" in uri and not uri.startswith("file://")):
        raise schema_error(
            what,
            got=f"{type(target).__name__} {uri}",
            expected="a FileSource of Parquet at a local path",
            remedy="Declare FileSource(path='folder', file_format=ParquetFormat(), "
            "timestamp_field=...), or write there by other means.",
        )
    return Path(locate(target, repo_path)[1]).absolute()
