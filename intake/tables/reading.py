"""The table of a section of dataset.toml, under our names."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.near_name import did_you_mean
from intake.tables.columnar_file import read_columnar
from intake.tables.data_files import DataFile, open_files
from intake.tables.delimited_file import read_delimited
from intake.tables.dialect import repeated_names
from intake.tables.file_kind import Kind, kind_of, read_start
from intake.tables.json_file import read_json
from intake.tables.query import read_query
from intake.tables.section import TableSection
from intake.tables.source_table import UNREAD, SourceTable
from intake.tables.text_types import Role, type_texts


def read_table(
    section: TableSection, name: str, folder: Path, role: Callable[[str], Role]
) -> SourceTable:
    """All rows behind a section, in the order of the files.

    Parameters
    ----------
    name : "items", "users" or "interactions"
    folder : of the dataset.toml, where relative paths in a query start
    role : of a column of text, under our name, as `type_texts` has it

    Raises
    ------
    SchemaError
        A file is missing, unreadable or damaged; files do not fit together; a column that `columns`
        names is missing, or one of our names is there twice.
    StoreUnavailableError
        A URL or server cannot be reached.
    """
    if section.path is None:
        table = read_query(section, folder)
        _require_distinct(table, section.where)
        parts = [_Part(table)]
    else:
        with open_files(section.path) as files:
            parts = [_read_file(file, section) for file in files]
        table = _together(parts, section.where)
    kinds = {part.kind for part in parts if part.kind is not None}
    table = type_texts(rename_columns(table, section, name), section, role, kinds)
    return SourceTable(
        section.where,
        section.label,
        name,
        table,
        section.time,
        pa.concat_tables([part.unread for part in parts]),
        tuple(note for part in parts for note in part.notes),
    )


@dataclass(frozen=True)
class _Part:
    """What one file gave."""

    table: pa.Table
    kind: Kind | None = None
    unread: pa.Table = field(default_factory=UNREAD.empty_table)
    notes: tuple[str, ...] = ()


def _read_file(file: DataFile, section: TableSection) -> _Part:
    start = read_start(file)
    kind = kind_of(file, start)
    if kind == "delimited":
        table, unread, notes = read_delimited(file, start, section)
        part = _Part(table, kind, unread, notes)
    elif kind == "json":
        part = _Part(read_json(file), kind)
    else:
        part = _Part(read_columnar(file, kind), kind)
    _require_distinct(part.table, file.name)
    table = part.table
    for key, value in file.partition.items():
        if key not in table.column_names:
            table = table.append_column(key, pa.array([value] * len(table), pa.string()))
    return replace(part, table=table)


def rename_columns(table: pa.Table, section: TableSection, name: str) -> pa.Table:
    """The table under our names; columns that `columns` does not name keep theirs.

    Raises
    ------
    SchemaError
        A column of theirs is missing, or a column has one of our names already.
    """
    present = table.column_names
    missing = [theirs for theirs in section.columns.values() if theirs not in present]
    if missing:
        raise schema_error(
            f"{section.where}: missing columns {missing}",
            got=f"columns {present}",
            expected=f"also {missing}, which columns of [{name}] names",
            remedy="Correct columns in dataset.toml: our name = the name in the file."
            f"{did_you_mean(missing[0], present)}",
        )
    moved = set(section.columns.values())
    kept = [column for column in present if column not in moved]
    taken = sorted(set(kept) & set(section.columns))
    if taken:
        theirs = section.columns[taken[0]]
        raise schema_error(
            f"{section.where}: column {taken[0]!r}",
            got=f"a column of that name beside {theirs!r}, which columns of [{name}] calls so",
            expected="one column of a name",
            remedy=f"Give the other a name too: columns = {{{taken[0]} = {theirs!r}, "
            f"{taken[0]}_raw = {taken[0]!r}}}.",
        )
    pairs = [(ours, theirs) for ours, theirs in section.columns.items()]
    pairs += [(column, column) for column in kept]
    order = sorted(pairs, key=lambda pair: present.index(pair[1]))
    return pa.table([table[theirs] for _, theirs in order], names=[ours for ours, _ in order])


def _together(parts: list[_Part], where: str) -> pa.Table:
    """One table of the files' rows; a column that some files lack is null there."""
    tables = [part.table for part in parts]
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowException, TypeError) as error:
        raise schema_error(
            where,
            got=f"files whose columns have types that do not fit together ({error})",
            expected="one type of a column in all files",
            remedy="Write the files with one type of it.",
        ) from error


def _require_distinct(table: pa.Table, where: str) -> None:
    repeated = sorted(name for name, n in Counter(table.column_names).items() if n > 1)
    if repeated:
        raise repeated_names(where, repeated)
