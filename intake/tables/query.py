"""Tables by SQL: of files through DuckDB, of SQLite, DuckDB and PostgreSQL databases."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa

from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error
from intake.tables.section import TableSection
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
        if _is_sqlite(database):
            return _from_sqlite(query, database)
        with duckdb.connect(str(database), read_only=True) as connection:
            return _ask(connection, query)
    except (duckdb.Error, sqlite3.Error, pa.ArrowException) as error:
        raise schema_error(
            section.where,
            got=f"{str(error).splitlines()[0]}",
            expected="a SELECT that the database understands",
            remedy="Correct query or database in its section of dataset.toml.",
        ) from error


def _from_files(query: str, folder: Path) -> pa.Table:
    with duckdb.connect() as connection:
        connection.execute(f"SET file_search_path = {sql_text(str(folder))}")
        return _ask(connection, query)


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(query).to_arrow_table()


def _is_sqlite(database: Path) -> bool:
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
    """By DuckDB's extension for PostgreSQL, which has to be installed once where there is a net."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise schema_error(
            "database",
            got=f"{url.partition('://')[0]}://",
            expected="a file of SQLite or DuckDB, or postgresql://",
            remedy="Export the table to Parquet or CSV, and name the file as path.",
        )
    with duckdb.connect() as connection:
        try:
            connection.execute("LOAD postgres")
        except duckdb.Error as error:
            raise _no_extension(query) from error
        connection.execute(f"ATTACH {sql_text(url)} AS server (TYPE postgres, READ_ONLY)")
        return _ask(connection, f"SELECT * FROM postgres_query('server', {sql_text(query)})")


def _no_extension(query: str) -> SchemaError | StoreUnavailableError:
    return StoreUnavailableError(
        "database: got a PostgreSQL server and no extension of DuckDB to read it, expected the "
        'extension. Where there is a network, install it once: `python -c "import duckdb; '
        "duckdb.sql('INSTALL postgres')\"`; or export the rows, and name the file as path: "
        f"`psql DATABASE -c \"\\copy ({' '.join(query.split())}) to 'rows.csv' csv header\"`."
    )
