"""CSV, TSV and their like: every field as text, and the lines that are no rows beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.tables.data_files import DataFile
from intake.tables.dialect import UTF_8, Dialect, find_dialect, not_encoded
from intake.tables.section import TableSection
from intake.tables.source_table import UNREAD
from intake.tables.sql_text import sql_path, sql_text

_BLOCK_CHARACTERS = 8 << 20
_BAD_ENCODING = "INVALID ENCODING"
# fields that a line has beside the columns; in wide files one line is spoilt in many columns
_REJECTS = """
    SELECT min(line) AS line, any_value(csv_line) AS text, min(error_type) AS error
    FROM reject_errors GROUP BY byte_position, file_id ORDER BY line
"""


def read_delimited(
    file: DataFile, start: bytes, section: TableSection
) -> tuple[pa.Table, pa.Table, tuple[str, ...]]:
    """The rows as text, null where a field is empty; the lines that are no rows; notes.

    Lines with fields too few or too many, and quotes that do not close, are no rows. Where that
    is so, and reading without quotes gives every line its row, quotes are taken as letters.

    Raises
    ------
    SchemaError
        The file is not written in the encoding that `section` names, or cannot be parsed.
    """
    dialect = find_dialect(file, start, section)
    with _in_utf_8(file, section.encoding or UTF_8) as path:
        table, unread = _read(path, file, dialect, start)
        if len(unread) and section.quote is None:
            plain = replace(dialect, quote="")
            if plain.names == dialect.names:
                whole, rest = _read(path, file, plain, start)
                if not len(rest):
                    note = f'{file.path.name} was read with quote = "": its quotes are letters.'
                    return whole, rest, (note,)
    return table, unread, ()


def _read(path: Path, file: DataFile, dialect: Dialect, start: bytes) -> tuple[pa.Table, pa.Table]:
    columns = ", ".join(f"'c{at}': 'VARCHAR'" for at in range(len(dialect.names)))
    options = (
        f"delim={sql_text(dialect.separator)}, quote={sql_text(dialect.quote)}, "
        f"escape={sql_text(dialect.quote)}, header={str(dialect.has_header).lower()}, "
        f"columns={{{columns}}}, auto_detect=false, store_rejects=true, "
        "hive_partitioning=false"
    )
    with duckdb.connect() as connection:
        try:
            table = connection.sql(
                f"SELECT * FROM read_csv({sql_path(path)}, {options})"
            ).to_arrow_table()
            rejects = connection.sql(_REJECTS).fetchall()
        except duckdb.Error as error:
            raise schema_error(
                file.name,
                got=f"a file that cannot be read as text with {dialect.separator!r} ({error})",
                expected="lines of fields",
                remedy="Set separator or quote in its section of dataset.toml.",
            ) from error
    bad = next((line for line, _, error in rejects if error == _BAD_ENCODING), None)
    if bad is not None:
        raise not_encoded(file, UTF_8, bad, start)
    lines = [(file.name, line, text) for line, text, _ in rejects]
    unread = pa.Table.from_pylist(
        [dict(zip(UNREAD.names, each, strict=True)) for each in lines], UNREAD
    )
    return table.rename_columns(list(dialect.names)), unread


@contextmanager
def _in_utf_8(file: DataFile, encoding: str) -> Iterator[Path]:
    """The path of the file; of one in another encoding, the path of a copy in UTF-8."""
    if encoding == UTF_8:
        yield file.path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "utf-8.csv"
        source = pa.input_stream(str(file.path), compression="detect")
        reader = pa.transcoding_input_stream(source, encoding, UTF_8)
        with reader, copy.open("wb") as made:
            try:
                while block := reader.read(_BLOCK_CHARACTERS):
                    made.write(block)
            except UnicodeDecodeError as error:
                raise schema_error(
                    file.name,
                    got=f"bytes that are no {encoding} ({error.reason})",
                    expected=f"text in {encoding}, as its section of dataset.toml says",
                    remedy="Correct encoding there.",
                ) from error
        yield copy
