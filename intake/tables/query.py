"""Tables by SQL: of files through DuckDB, of SQLite, DuckDB and PostgreSQL databases."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa

from feast_fusion.errors import (
    SchemaError,
    StoreUnavailableError,
    extra_required,
    schema_error,
)
from intake.tables.section import TableSection, without_password
from intake.tables.sql_text import sql_text

_SQLITE = b"SQLite format 3\x00"
_BLOCK_ROWS = 100_000


def read_query(section: TableSection, folder: Path) -> pa.Table:
    """The rows that the query of `section` gives; a time with a zone is shown in UTC.

    Parameters
    ----------
    folder : where relative paths in a query over files start

    Raises
    ------
    SchemaError
        There is no such database, or it does not understand the query.
    StoreUnavailableError
        A server cannot be reached from here.
    """
    query, database = section.query or "", section.database
    try:
        if database is None:
            return _from_files(query, folder)
        if isinstance(database, str):
            return _from_server(query, database)
        if is_sqlite(database):
            return _from_sqlite(query, database)
        with duckdb.connect(str(database), read_only=True) as connection:
            return _ask(connection, query)
    except (duckdb.Error, sqlite3.Error, pa.ArrowException) as error:
        raise _not_understood(without_password(database), query, error) from error


def _from_files(query: str, folder: Path) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = {sql_text(str(folder))}")
        return _ask(connection, query)


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(query).to_arrow_table()


def is_sqlite(database: Path) -> bool:
    """Whether a database is one of SQLite; what is none of it is opened by DuckDB.

    Raises
    ------
    SchemaError
        There is no such file.
    """
    if not database.is_file():
        raise schema_error(
            f"{database}",
            got="no such file",
            expected="an SQLite or DuckDB file",
            remedy="Correct database in its section of dataset.toml.",
        )
    with database.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _from_sqlite(query: str, database: Path) -> pa.Table:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(query)
        names = [column[0] for column in cursor.description or ()]
        blocks = [[list(column) for column in zip(*rows, strict=True)] for rows in _blocks(cursor)]
    columns = [[value for block in blocks for value in block[at]] for at in range(len(names))]
    return pa.table([_array(column) for column in columns], names=names)


def _blocks(cursor: sqlite3.Cursor) -> Iterator[list[tuple[object, ...]]]:
    while rows := cursor.fetchmany(_BLOCK_ROWS):
        yield rows


def _array(values: list[object]) -> pa.Array:
    """A column of SQLite, where each value has a type of its own: text where they differ."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        return pa.array(values, pa.float64() if kinds == {int, float} else None)
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _from_server(query: str, url: str) -> pa.Table:
    if not url.startswith(("postgresql://", "postgres://")):
        raise schema_error(
            "database",
            got=f"{url.partition('://')[0]}://",
            expected="a file of SQLite or DuckDB, or postgresql://",
            remedy="Export the table to Parquet or CSV, and name the file as path.",
        )
    with extra_required("postgres"):
        from adbc_driver_postgresql import dbapi
    try:
        connection = dbapi.connect(url)
    except dbapi.Error as error:
        raise _unreachable(url, error) from error
    with connection, connection.cursor() as cursor:
        try:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(query)
            return _plain(cursor.fetch_arrow_table())
        except dbapi.Error as error:
            raise _not_understood(without_password(url), query, error) from error


def _plain(table: pa.Table) -> pa.Table:
    """The table without types that Arrow does not have itself: NUMERIC becomes numbers."""
    for at, field in enumerate(table.schema):
        if isinstance(field.type, pa.BaseExtensionType):
            chunks = [chunk.storage for chunk in table.column(at).chunks]
            column = pa.chunked_array(chunks, field.type.storage_type)
            if getattr(field.type, "type_name", "") == "numeric":
                column = column.cast(pa.float64())
            table = table.set_column(at, field.name, column)
    return table


def _unreachable(url: str, error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{without_password(url)}: got {_first_line(error)}, expected a server that answers. Check "
        "host, port, user and password; PGPASSWORD or ~/.pgpass can hold the password."
    )


def _not_understood(where: str, query: str, error: Exception) -> SchemaError:
    return schema_error(
        f"{where}: query {' '.join(query.split())!r}",
        got=_first_line(error),
        expected="a SELECT that the database understands",
        remedy="Correct query or database in its section of dataset.toml.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
