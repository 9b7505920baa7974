"""The tables behind the paths that were given: files of one shape are one table."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from feast_fusion.errors import SchemaError
from intake.proposal.databases import is_database, queries_of
from intake.proposal.seen_column import SeenColumn, see_column
from intake.tables.data_files import DataFile, local_files
from intake.tables.dialect import find_dialect
from intake.tables.file_kind import kind_of, read_start
from intake.tables.query import read_query
from intake.tables.reading import read_table
from intake.tables.section import TableSection

_LONGEST_NAME = 40
_ONE_EACH = 1.05  # values of an item where its column says the same of it
_ENCODING = re.compile(r'`encoding = "(.*?)"`')


@dataclass(frozen=True)
class SeenTable:
    """A table that was found.

    Attributes
    ----------
    path : a file, a folder or a pattern
    options : other keys that reading it needs
    table : all rows; the fields of text files are texts
    columns : what each holds
    is_delimited : whether it is of text files with fields
    query : SQL that gives the rows, of a database, or where a field holds several
    part : the table of the database at `path`
    """

    path: Path
    options: dict[str, Any]
    table: pa.Table
    columns: dict[str, SeenColumn]
    is_delimited: bool
    query: str | None = None
    part: str | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.path.name if self.part is None else f"{self.part} of {self.path.name}"

    @property
    def name(self) -> str:
        """The name of the table, file or folder without suffixes."""
        if self.part is not None:
            return self.part
        return self.path.name.partition(".")[0] or self.path.parent.name


def look_at(paths: Sequence[Path], now: datetime) -> list[SeenTable]:
    """The tables behind the paths: of a folder, files with the same columns are one table.

    Raises
    ------
    SchemaError
        A path has no file, or a file that cannot be read.
    """
    found = []
    for given in paths:
        if is_database(given):
            found += [_ask(given, *each, now) for each in queries_of(given).items()]
        else:
            found += [_see(path, now) for path in _tables_of(given)]
    return found


def _tables_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    shapes: dict[tuple[str, ...], list[DataFile]] = {}
    for file in local_files(path):
        shapes.setdefault((str(file.path.parent == path), *_names(file)), []).append(file)
    files = local_files(path)
    if len(files) > 1 and len(shapes) == 1 and len({_stem(file) for file in files}) == 1:
        return [path]
    return [table for files in shapes.values() for table in _paths_of(files)]


def _stem(file: DataFile) -> str:
    """The name of a file without the digits that tell the parts of a table apart."""
    return re.sub(r"[\d_-]+", "", file.path.name)


def _paths_of(files: list[DataFile]) -> list[Path]:
    """One pattern where the files are the parts of a table; else each file."""
    paths = [file.path for file in files]
    if len(paths) > 1 and len({_stem(file) for file in files}) == 1:
        names = zip(*(path.name for path in paths), strict=False)
        same = takewhile(lambda letters: len(set(letters)) == 1, names)
        start = "".join(letters[0] for letters in same).rstrip("0123456789")
        pattern = paths[0].parent / f"{start}*{''.join(paths[0].suffixes)}"
        if [file.path for file in local_files(pattern)] == sorted(paths):
            return [pattern]
    return paths


def _names(file: DataFile) -> tuple[str, ...]:
    """Whatever tells the shape of a file: its columns, or its name where it has none."""
    start = read_start(file)
    if kind_of(file, start) != "delimited":
        return (re.sub(r"\d+", "", file.path.name),)
    try:
        return find_dialect(file, start, TableSection(path=file.path)).names
    except SchemaError:
        return (file.path.name,)


def _ask(path: Path, part: str, query: str, now: datetime) -> SeenTable:
    table = read_query(TableSection(query=query, database=path), path.parent)
    return SeenTable(path, {}, table, see_columns(table, now), False, query, part)


def _see(path: Path, now: datetime) -> SeenTable:
    options: dict[str, Any] = {}
    try:
        source = _read(path, options)
    except SchemaError as error:
        found = _ENCODING.search(str(error))
        if found is None:
            raise
        options["encoding"] = found.group(1)
        source = _read(path, options)
    file = local_files(path)[0]
    is_delimited = kind_of(file, read_start(file)) == "delimited"
    if is_delimited and not _has_header(source):
        options["names"] = [f"column_{at}" for at in range(1, source.num_columns + 1)]
        source = _read(path, options)
    return SeenTable(path, options, source, see_columns(source, now), is_delimited)


def see_columns(table: pa.Table, now: datetime) -> dict[str, SeenColumn]:
    """What each column of a table holds."""
    return {name: see_column(name, table[name], now) for name in table.column_names}


def belongs_to(log: SeenTable, name: str, item: str) -> bool:
    """Whether a column says the same of an item in every row, or nearly."""
    pairs = pl.DataFrame({"item": pl.Series(log.table[item]), "value": pl.Series(log.table[name])})
    pairs = pairs.drop_nulls()
    n_pairs = pairs.n_unique() if len(pairs) else 0
    return 0 < n_pairs <= _ONE_EACH * pairs["item"].n_unique()


def is_of_one_row(log: SeenTable, column: SeenColumn) -> bool:
    """Whether each row has a value of its own in a column; the same row twice has it twice."""
    if column.is_unique:
        return True
    if column.n_null or 2 * column.n_distinct < column.n:
        return False
    plain = [name for name, seen in log.columns.items() if seen.kind not in ("nested", "list")]
    rows = pl.DataFrame({name: pl.Series(log.table[name]) for name in plain})
    return rows.n_unique() == column.n_distinct


def _read(path: Path, options: dict[str, Any]) -> pa.Table:
    section = TableSection(path=path, **options)
    return read_table(section, "table", path.parent, lambda _: "text").table


def _has_header(table: pa.Table) -> bool:
    """Whether the first line is names: none is long, a URL, a number, or like the values below."""
    return not any(_is_value(name, table[name]) for name in table.column_names)


def _is_value(name: str, column: pa.ChunkedArray) -> bool:
    if len(name) > _LONGEST_NAME or "://" in name or re.fullmatch(r"-?\d+(\.\d+)?", name):
        return True
    if not any(letter.isdigit() for letter in name):
        return False
    shape = _shape(name)
    known = column.drop_null()[:200].to_pylist()
    return bool(known) and sum(_shape(str(each)) == shape for each in known) > 0.5 * len(known)


def _shape(text: str) -> str:
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"\d+", "9", text))
