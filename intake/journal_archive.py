"""The archive of a journal: its files that are prepared for good, as compressed Parquet.

`prepare` reads it, the service does not. Nothing is lost by a kill in the middle: a file is removed
when its archive is on disk, and counts instead of the archive while both are there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import replaced_file, sync_path
from feast_fusion.parquet.seal import parquet_writer
from feast_fusion.parquet.whole import read_parquet, read_schema
from intake.journal_file import journal_files, sound_lines, try_lock
from intake.record_format import RecordFormat

_FOLDER = "archive"
_N_BYTES = b"journal_bytes"  # how long the file was
_PIECE = 50_000


def archive_files(folder: Path) -> list[Path]:
    """The archived files of a journal, but those whose file is there still."""
    present = {path.stem for path in journal_files(folder)}
    found = sorted((folder / _FOLDER).glob("*.parquet"))
    return [path for path in found if path.stem not in present]


def archive_prepared(
    folder: Path,
    of: RecordFormat[Any],
    prepared: Mapping[str, int],
    forget: Callable[[Path], None],
) -> int:
    """Move files of which all is prepared, and whose writer is gone, into the archive; how many.

    Parameters
    ----------
    prepared : by file, how many of its bytes are prepared
    forget : called with a file that is in the archive, before it is removed

    Raises
    ------
    SchemaError
        A file is damaged.
    """
    n_files = 0
    for path in journal_files(folder):
        with path.open("rb") as file:
            n_bytes = path.stat().st_size
            if n_bytes == prepared.get(path.name) and try_lock(file):
                _archive(path, of, n_bytes)
                forget(path)
                path.unlink()
                n_files += 1
    if n_files:
        sync_path(folder)
    return n_files


def _archive(path: Path, of: RecordFormat[Any], n_bytes: int) -> None:
    schema = of.schema.with_metadata({_N_BYTES: str(n_bytes)})
    target = path.parent / _FOLDER / f"{path.stem}.parquet"
    with (
        replaced_file(target, sync=True) as building,
        parquet_writer(building, schema) as writer,
    ):
        for table in file_tables(path, of, {}):
            writer.write_table(table.cast(schema))
    sync_path(path.parent)


def file_tables(path: Path, of: RecordFormat[Any], ends: dict[str, int]) -> Iterator[pa.Table]:
    """The records of a file of the journal, piece by piece; `ends` is told how far it was read."""
    lines = sound_lines(path)
    while piece := list(islice(lines, _PIECE)):
        ends[path.name] = piece[-1].end
        yield of.to_table(of.decode_all(line.body for line in piece))


def rewrite_archived(path: Path, records: pa.Table) -> None:
    """Put `records` in the place of those that are archived in a file, all or nothing."""
    schema = records.schema.with_metadata({_N_BYTES: str(archived_bytes(path))})
    with replaced_file(path, sync=True) as building, parquet_writer(building, schema) as writer:
        writer.write_table(records.cast(schema))


def read_archived(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The records of an archived file.

    Raises
    ------
    SchemaError
        It is damaged.
    """
    with _named(path):
        return read_parquet(path, columns).replace_schema_metadata(None)


def archived_bytes(path: Path) -> int:
    """How long the file was that is archived here; raises as `read_archived`."""
    with _named(path):
        read_schema(path)  # says what is wrong with a damaged one
    return int(pq.read_schema(path).metadata[_N_BYTES])


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except SchemaError as error:
        raise schema_error(
            str(path),
            got=str(error),
            expected="the archived records as they were written",
            remedy="Restore the file from a backup, or remove it if its records are lost.",
        ) from error
