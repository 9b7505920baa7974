"""How a text file is written: its encoding, its separator, its line of names."""

import csv
import re
from dataclasses import dataclass

from feast_fusion.errors import SchemaError, schema_error
from intake.tables.data_files import DataFile
from intake.tables.file_kind import SAMPLE_BYTES
from intake.tables.section import TableSection

UTF_8 = "utf-8"
_SEPARATORS = ("::", ",", "\t", ";", "|")
_SAMPLE_LINES = 200
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Dialect:
    """How the lines of a file become rows.

    Attributes
    ----------
    names : of the columns, distinct
    has_header : whether the first line is the names
    """

    separator: str
    quote: str
    names: tuple[str, ...]
    has_header: bool


def find_dialect(file: DataFile, start: bytes, section: TableSection) -> Dialect:
    """What `section` says of text files, and what it leaves open by the first lines.

    Raises
    ------
    SchemaError
        The file is not written in the encoding, or its names are not distinct.
    """
    text = _decode(file, start, section.encoding or UTF_8)
    quote = '"' if section.quote is None else section.quote
    separator = section.separator or sniff_separator(text, quote)
    first = next(iter(rows_of(text, separator, quote)), [])
    names = section.names or tuple(name.strip() for name in first)
    names = tuple(name or f"unnamed_{at}" for at, name in enumerate(names))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise repeated_names(file.name, repeated)
    return Dialect(separator, quote, names, not section.names)


def repeated_names(where: str, repeated: list[str]) -> SchemaError:
    """The error that columns share a name."""
    return schema_error(
        where,
        got=f"more than one column named {repeated}",
        expected="distinct names",
        remedy="Rename or drop the others.",
    )


def sniff_separator(text: str, quote: str = '"') -> str:
    """The separator that gives the first lines the same number of fields, and the most.

    Examples
    --------
    >>> sniff_separator("user;item;price\\na;b;3,5\\n")
    ';'
    """

    def evenness(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in rows_of(text, separator, quote)]
        if not widths or widths[0] < 2:
            return 0.0, 0
        return sum(width == widths[0] for width in widths) / len(widths), widths[0]

    return max(_SEPARATORS, key=evenness)


def rows_of(text: str, separator: str, quote: str) -> list[list[str]]:
    """The first rows of a text, without the last where the text may have been cut."""
    is_cut = len(text) >= SAMPLE_BYTES // 4 and not text.endswith("\n")
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)[:_SAMPLE_LINES]
    if len(separator) > 1:
        return [line.rstrip("\r\n").split(separator) for line in lines if line.strip()]
    reader = (
        csv.reader(lines, delimiter=separator, quotechar=quote)
        if quote
        else csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
    )
    rows = [row for row in reader if row]
    return rows[:-1] if is_cut and len(rows) > 1 else rows


def _decode(file: DataFile, start: bytes, encoding: str) -> str:
    try:
        return start.decode(encoding)
    except UnicodeDecodeError as error:
        is_cut_at_the_end = len(start) - error.start < 4 and len(start) >= SAMPLE_BYTES
        if is_cut_at_the_end:
            return start[: error.start].decode(encoding)
        line = start.count(b"\n", 0, error.start) + 1
        raise not_encoded(file, encoding, line, start) from error


def not_encoded(file: DataFile, encoding: str, line: int, start: bytes) -> SchemaError:
    """The error that a line of a file is not written in `encoding`."""
    shown = start.split(b"\n")[line - 1][:60] if start.count(b"\n") >= line - 1 else b""
    guess = _guess_encoding(start)
    return schema_error(
        f"{file.name}, line {line}",
        got=f"bytes that are no {encoding.upper()}" + (f", such as {shown!r}" if shown else ""),
        expected=f"text in {encoding.upper()}",
        remedy=f'Say how it is written in its section of dataset.toml: `encoding = "{guess}"`.',
    )


def _guess_encoding(start: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    runs = re.findall(rb"[\x80-\xff]+", start)
    # a Chinese character has two bytes, and few stand alone; an accent has one
    is_chinese = sum(len(run) % 2 == 0 for run in runs) > 0.9 * len(runs)
    return "gb18030" if is_chinese else "latin-1"
