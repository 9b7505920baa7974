"""JSON lines and JSON arrays: nested values keep their shape, texts stay texts."""

import re

import duckdb
import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.tables.data_files import DataFile
from intake.tables.sql_text import sql_name, sql_path, sql_text

# DuckDB takes texts for these; ids and times are ours to read.
_AS_TEXT = re.compile(r"^(DATE|TIME|TIMESTAMP.*|UUID|HUGEINT|UHUGEINT)((?:\[\])*)$")
_MAX_ROW_BYTES = 64 << 20


def read_json(file: DataFile) -> pa.Table:
    """The rows of a file; a value that has several types in the file is text.

    Raises
    ------
    SchemaError
        A line is no JSON, with its number; or two keys differ only by capital letters.
    """
    source = (
        f"read_json({sql_path(file.path)}, maximum_object_size={_MAX_ROW_BYTES}, "
        "hive_partitioning=false"
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        try:
            described = connection.sql(
                f"DESCRIBE SELECT * FROM {source}, sample_size=-1, map_inference_threshold=-1, "
                "convert_strings_to_integers=false)"
            ).fetchall()
            types = {sql_name(n): _AS_TEXT.sub(r"VARCHAR\2", found) for n, found, *_ in described}
            columns = ", ".join(f"{name}: {sql_text(kind)}" for name, kind in types.items())
            selected = ", ".join(
                f"{name} ->> '$' AS {name}" if kind == "JSON" else name
                for name, kind in types.items()
            )
            table = connection.sql(
                f"SELECT {selected} FROM {source}, columns={{{columns}}})"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise schema_error(
                file.name,
                got=f"a file that cannot be read as JSON ({_first_line(error)})",
                expected="an object per line, or one array of objects",
                remedy="Correct the line that it names, or make the file again.",
            ) from error
    _require_distinct(file, table)
    return table


def _require_distinct(file: DataFile, table: pa.Table) -> None:
    """DuckDB calls `Title` beside `title` `Title_1`, and finds nothing under that name."""
    names = {name.lower() for name in table.column_names}
    for name, column in zip(table.column_names, table.columns, strict=True):
        plain = re.sub(r"_\d+$", "", name)
        if column.null_count == len(table) and plain != name and plain.lower() in names:
            raise schema_error(
                file.name,
                got=f"keys that differ from {plain!r} by capital letters alone",
                expected="one way to write a key",
                remedy="Rename one of the two.",
            )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
