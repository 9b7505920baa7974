"""The tables of an SQLite or DuckDB file."""

from pathlib import Path

from intake.tables.query import is_sqlite, read_query
from intake.tables.section import TableSection
from intake.tables.sql_text import sql_name

_SQLITE_NAMES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' "
    "ORDER BY name"
)
_DUCKDB_NAMES = "SELECT table_name AS name FROM information_schema.tables ORDER BY table_name"
_DUCKDB = b"DUCK"


def is_database(path: Path) -> bool:
    """Whether a file is a database of SQLite or DuckDB, by its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(12)
    return start[8:12] == _DUCKDB or is_sqlite(path)


def queries_of(path: Path) -> dict[str, str]:
    """The name of each table and view of a database, and the query that reads it."""
    names = _SQLITE_NAMES if is_sqlite(path) else _DUCKDB_NAMES
    found = read_query(TableSection(query=names, database=path), path.parent)
    return {name: f"SELECT * FROM {sql_name(name)}" for name in found["name"].to_pylist()}
