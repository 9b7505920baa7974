"""Parquet files beside an Iceberg table, which any process writes and one process commits."""

from functools import cache

from pyarrow import fs
from pyiceberg.table import Table

from feast_fusion.tables.iceberg_table import TableName, filesystem_of


def data_place(table: Table) -> str:
    """Where the data files of `table` lie."""
    found: str = table.properties.get("write.data.path", f"{table.location()}/data")
    return found.rstrip("/")


def staged_location(uri: str) -> str:
    """Where the staged file `iceberg://CATALOG/NAMESPACE.TABLE/RUN/NAME` lies."""
    table, run, name = uri.rsplit("/", 2)
    return f"{data_place(_table(table))}/{run}/{name}"


def staged_at(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a staged file, and its path there."""
    return filesystem_of(_table(uri.rsplit("/", 2)[0]).io, staged_location(uri))


@cache
def _table(uri: str) -> Table:
    """A table of which only the place and the credentials matter."""
    return TableName.of(uri).load("staged files")
