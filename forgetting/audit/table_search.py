"""Searching the values of tables: Arrow and Parquet files, and databases of SQLite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forgetting.audit.needles import USER_ID, Needles

_ROWS = 1 << 16


def search_parquet(path: Path, needles: Needles) -> str | None:
    """The column of a Parquet file that has a needle, None without one."""
    with pq.ParquetFile(path) as file:
        names = [each.name for each in file.schema_arrow if _is_searched(each.name, each.type)]
        for batch in file.iter_batches(_ROWS, columns=names):
            if (found := search_columns(batch, needles)) is not None:
                return found
    return None


def search_arrow(path: Path, needles: Needles) -> str | None:
    """The same of an Arrow file."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        batches = (file.get_batch(at) for at in range(file.num_record_batches))
        return next(filter(None, (search_columns(batch, needles) for batch in batches)), None)


def search_columns(batch: pa.RecordBatch, needles: Needles) -> str | None:
    """The first column of a batch that has a needle."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for part, values in _leaves(name, column):
            if any(needles.in_value(part, value) for value in pc.unique(values).to_pylist()):
                return part
    return None


def search_database(path: Path, needles: Needles) -> str | None:
    """The table and column of a database that has a needle; free pages are for a raw search."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda content: content.decode("utf-8", "replace")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for name, value in zip(columns, row, strict=True):
                    if needles.in_value(name, value):
                        return f"{table}.{name}"
    return None


def _is_searched(name: str, kind: pa.DataType) -> bool:
    """Whether a column has texts or bytes in it, or is of ids of users that are numbers."""
    if pa.types.is_nested(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return any(_is_searched(field.name, field.type) for field in fields)
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(value) or (name == USER_ID and pa.types.is_integer(value))


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    of_bytes = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(is_kind(kind) for is_kind in (*tests, *of_bytes))


def _leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """The columns of texts and bytes in a column, however deep."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary, kind.value_type
    if pa.types.is_struct(kind):
        for field, part in zip(kind, column.flatten(), strict=True):
            yield from _leaves(field.name, part)
    elif pa.types.is_map(kind):
        yield from _leaves(name, column.keys)
        yield from _leaves(name, column.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(name, column.flatten())
    elif _is_text(kind):
        yield name, column
    elif name == USER_ID and pa.types.is_integer(kind):
        yield name, column.cast(pa.string())
