"""An Iceberg table as a source: its data files for the reader that reads any Parquet."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from feast_fusion.parquet.parquet_file import ParquetFile, read_footer
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.tables.iceberg_table import (
    TableName,
    data_files,
    filesystem_of,
    require_same_names,
    table_columns,
)

_FOOTERS_AT_ONCE = 16  # each is a few round trips to an object store


def open_table(
    uri: str,
    what: str,
    field_mapping: Mapping[str, str] | None = None,
    times: tuple[str, ...] = (),
) -> ParquetSource:
    """The rows of the current snapshot, in the columns and types that the table has.

    A row of a later commit has a later position. Raises as `TableName.load` and `data_files`;
    SchemaError also where a column was renamed after a file was written.
    """
    table = TableName.of(uri).load(what)
    return source_of(table, data_files(table, what), what, field_mapping, times)


def table_version(uri: str) -> tuple[str, ...]:
    """What changes with every commit to a table; empty where there is no table."""
    name = TableName.of(uri)
    if not name.open_catalog().table_exists(name.identifier):
        return ()
    return (name.load("table").metadata_location,)


def source_of(
    table: Table,
    files: list[DataFile],
    what: str,
    field_mapping: Mapping[str, str] | None = None,
    times: tuple[str, ...] = (),
) -> ParquetSource:
    """The rows of `files`, which are files of `table`; errors as `open_table`."""

    def opened(file: DataFile) -> ParquetFile:
        filesystem, path = filesystem_of(table.io, file.file_path)
        found = read_footer(filesystem, filesystem.get_file_info(path), {})
        require_same_names(table, path, found.metadata.schema.to_arrow_schema(), what)
        return found

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as threads:
        footers = tuple(threads.map(opened, files))
    columns = table_columns(table)
    return ParquetSource(what, ".".join(table.name()), footers, columns, field_mapping or {}, times)
