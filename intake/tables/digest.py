"""What changes whenever a table's files or rows do."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from feast_fusion.errors import FeastFusionError
from intake.tables.data_files import local_files
from intake.tables.query import read_query
from intake.tables.remote_files import list_files
from intake.tables.section import TableSection


def digest_table(section: TableSection, folder: Path) -> str | None:
    """SHA-256 of what is behind a section; None where nothing can be read.

    Of files here it is their names, wherever the table lies, and content; of files at a URL their
    names, sizes and times; of a query of an SQLite or DuckDB file the database; of any other query
    its rows.
    """
    try:
        found = hashlib.sha256()
        for part in _parts(section, folder):
            found.update(part.encode() + b"\x00")
        return found.hexdigest()
    except (FeastFusionError, OSError):
        return None  # validation says what is wrong with it


def table_files(section: TableSection) -> list[Path]:
    """The files of this machine that are behind a section."""
    if isinstance(section.path, Path):
        return [file.path for file in local_files(section.path)]
    return [section.database] if isinstance(section.database, Path) else []


def digest_rows(table: pa.Table) -> str:
    """SHA-256 of the rows of a table, in their order."""
    rows = table.combine_chunks()
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as stream:
        stream.write_table(rows)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def _parts(section: TableSection, folder: Path) -> Iterator[str]:
    if isinstance(section.path, Path):
        for file in local_files(section.path):
            yield os.path.relpath(file.path, section.path.parent)
            yield _digest_file(file.path)
    elif section.path is not None:
        for name, stamp in list_files(section.path).items():
            yield f"{name} {stamp}"
    elif isinstance(section.database, Path):
        yield _digest_file(section.database)
    else:
        yield digest_rows(read_query(section, folder))


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
