"""The offline sink of a view: a folder of Parquet files that is only ever added to."""

import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from feast.data_format import ParquetFormat
from feast.infra.offline_stores.file_source import FileSource
from filelock import FileLock, Timeout

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.history.parquet_rows import ParquetRows, read_layout
from feast_fusion.history.row_keys import POSITION
from feast_fusion.history.view_schema import ViewSchema

_log = logging.getLogger(__name__)

_PART = re.compile(r"part-(\d{10})-\w+\.parquet")
# Readers of the folder (DuckDB, Dask) skip hidden files only where they do not end in .parquet.
_TEMPORARY = ".part-{}.tmp"


class HistorySink:
    """The folder in which the rows of one view accumulate, in the order they were written.

    Each `append` is one new file, complete on disk before it gets its name: a crash leaves
    either the whole batch or none of it. No file is ever rewritten.
    A `replacement` takes the place of the folder as a whole.
    """

    def __init__(self, folder: Path, schema: ViewSchema) -> None:
        self.folder = folder
        self.schema = schema
        self._next = 0

    @property
    def what(self) -> str:
        """How messages name it."""
        return f"Feature view {self.schema.view!r}, sink {self.folder}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclusive use of the sink among processes; temporary files of dead writers are gone."""
        self._refuse_file()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            self._recover()
            self._create()
            for stale in self.folder.glob(_TEMPORARY.format("*")):
                stale.unlink()
            yield

    def ensure(self) -> None:
        """Create the sink with its schema and no rows; one that exists must have that schema.

        Raises
        ------
        SchemaError
            The path is a file, or the sink there has another schema.
        """
        self._refuse_file()
        if self._parts():
            self._refuse_other_schema()  # without the lock, which a running job may hold for hours
        else:
            with self.locked():
                pass

    def append(self, table: pa.Table) -> Path:
        """Add `table` (of the sink's schema) as one new file. Call it while `locked`."""
        token = uuid.uuid4().hex[:8]
        target = self.folder / f"part-{self._next:010d}-{token}.parquet"
        temporary = self.folder / _TEMPORARY.format(token)
        texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
        with temporary.open("wb") as opened:
            pq.write_table(table, opened, compression="zstd", use_dictionary=texts)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(target)
        _sync_folder(self.folder)
        self._next += 1
        return target

    @contextmanager
    def replacement(self) -> Iterator["HistorySink"]:
        """An empty sink that takes the place of this one when the block ends without an error.

        Call it while `locked`. Until then readers have the old rows; a killed run leaves them.
        """
        new = HistorySink(self._beside("rebuilt"), self.schema)
        shutil.rmtree(new.folder, ignore_errors=True)
        new._create()
        try:
            yield new
        except BaseException:
            shutil.rmtree(new.folder, ignore_errors=True)
            raise
        self.folder.rename(self._beside("replaced"))
        new.folder.rename(self.folder)
        shutil.rmtree(self._beside("replaced"))
        self._create()

    def rows(self) -> ParquetRows:
        """All rows, by position in the order they were written."""
        times = tuple(name for name in (self.schema.timestamp, self.schema.created) if name)
        return read_layout(self.what, pafs.LocalFileSystem(), str(self.folder), {}, times)

    def read_identities(self, columns: Sequence[str]) -> pl.DataFrame:
        """`columns` of all rows."""
        types = self.schema.types(columns)
        return self.rows().read_keys(types, self.schema.timestamp, None).drop(POSITION)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(self.folder.parent / f".{self.folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("%s: waiting for another process that writes to it", self.what)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _beside(self, state: str) -> Path:
        return self.folder.with_name(f".{self.folder.name}.{state}")

    def _recover(self) -> None:
        """Finish or undo a replacement that was killed among its renames."""
        replaced, rebuilt = self._beside("replaced"), self._beside("rebuilt")
        if replaced.is_dir() and not self.folder.exists():
            (rebuilt if rebuilt.is_dir() else replaced).rename(self.folder)
        shutil.rmtree(replaced, ignore_errors=True)
        shutil.rmtree(rebuilt, ignore_errors=True)

    def _create(self) -> None:
        self.folder.mkdir(exist_ok=True)
        numbers = [int(found[1]) for found in map(_PART.fullmatch, self._parts()) if found]
        self._next = max(numbers, default=-1) + 1
        if self._parts():
            self._refuse_other_schema()
        else:
            self.append(self.schema.arrow.empty_table())

    def _parts(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.glob("[!._]*.parquet"))

    def _refuse_file(self) -> None:
        if self.folder.is_file():
            raise schema_error(
                self.what,
                got="a single file",
                expected="a folder (it need not exist yet)",
                remedy="Name a folder as the path of sink_source; move this file into it to keep "
                "its rows.",
            )

    def _refuse_other_schema(self) -> None:
        first = self.folder / self._parts()[0]
        try:
            found = pq.read_schema(first).remove_metadata()
        except (pa.ArrowInvalid, OSError) as error:
            raise SchemaError(
                f"{self.what}: got a file that is not Parquet, {first} ({error}), expected "
                "Parquet. Restore or remove this file."
            ) from error
        if found.names != self.schema.arrow.names or found.types != self.schema.arrow.types:
            raise schema_error(
                self.what,
                got=_columns(found),
                expected=_columns(self.schema.arrow),
                remedy="A sink keeps one schema: give the view a new name and sink path, or "
                "remove the folder and materialize again.",
            )


def open_sink(view: Any, schema: ViewSchema, repo_path: object) -> HistorySink:
    """The sink declared by `view` (its `sink_source`); nothing is read or created yet.

    Raises
    ------
    SchemaError
        The sink is not a local folder of Parquet files with the view's own column names.
    """
    source = view.batch_source
    path = source.path if isinstance(source, FileSource) else ""
    is_parquet = isinstance(source, FileSource) and (
        source.file_format is None or isinstance(source.file_format, ParquetFormat)
    )
    if not is_parquet or "://" in path or source.field_mapping:
        got = f"{type(source).__name__} {path or source.name!r}"
        if source.field_mapping:
            got += f" with field_mapping {dict(source.field_mapping)}"
        raise schema_error(
            f"Feature view {view.name!r}, sink_source",
            got=got,
            expected="a FileSource of a local folder, in Parquet format, without field_mapping",
            remedy="Declare sink_source=FileSource(path='folder', file_format=ParquetFormat(), "
            "timestamp_field=...).",
        )
    return HistorySink(Path(FileSource.get_uri_for_file_path(repo_path, path)).absolute(), schema)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
