"""The offline sink of a view: a folder of Parquet files that is only ever added to."""

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from filelock import FileLock, Timeout

from feast_fusion.errors import schema_error
from feast_fusion.files import recover_folder, replaced_folder
from feast_fusion.history.row_keys import read_keys
from feast_fusion.history.table_rows import Window
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet.location import local_path
from feast_fusion.parquet.opening import local_files
from feast_fusion.parquet.parquet_source import POSITION, ParquetSource
from feast_fusion.parquet.parts import adopt_parts, append_part
from feast_fusion.parquet.whole import read_schema

_log = logging.getLogger(__name__)
# Beside a sink, behind its name: a replacement, staged files, those of a replacement.
_PLACES = ("new.tmp", f"{'[0-9a-f]' * 8}.tmp", f"new.tmp.{'[0-9a-f]' * 8}.tmp")


class HistorySink:
    """The folder in which the rows of one view accumulate, in the order they were written.

    Each `append` is one new file, complete on disk before it gets its name: a crash leaves
    either the whole batch or none of it. No file is ever rewritten.
    Files that others `stage` become part of it by one `commit`.
    A `replacement` takes the place of the folder as a whole.

    A feature that the view gained is null in the rows that are there. They count as not finished,
    so a run over their window transforms them again, and what it adds is newer than they are.
    """

    def __init__(self, folder: Path, schema: ViewSchema) -> None:
        self.folder = folder
        self.schema = schema

    @property
    def what(self) -> str:
        """How messages name it."""
        return f"Feature view {self.schema.view!r}, sink {self.folder}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclusive use of the sink among processes; what dead writers left half done is gone."""
        self._refuse_file()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._lock():
            recover_folder(self.folder)
            for place in _PLACES:
                for abandoned in self.folder.parent.glob(f".{self.folder.name}.{place}"):
                    shutil.rmtree(abandoned, ignore_errors=True)  # a dying worker may write there
            self._create()
            for abandoned in self.folder.glob(".part-*.tmp"):
                abandoned.unlink()
            yield

    def ensure(self) -> None:
        """Create the sink with its schema and no rows, or give one that exists its new features.

        Raises
        ------
        SchemaError
            The path is a file, or the sink there has other keys or types.
        """
        self._refuse_file()
        # Looked at without the lock, which a running job may hold for hours.
        if self._parts() and self._has_schema():
            return
        with self.locked():
            pass

    def append(self, table: pa.Table) -> None:
        """Add `table` (of the sink's schema) as one new file. Call it while `locked`."""
        append_part(self.folder, table, sync=True)

    @contextmanager
    def staging(self) -> Iterator[str]:
        """A place for files that are to be committed together. Call it while `locked`.

        Any process that reaches the file system of the sink may `write_staged` there. What is not
        committed when the block ends is removed; what a killed run left, when the next one begins.
        """
        name = self.folder.name.removeprefix(".")  # of a replacement, which is hidden
        place = self.folder.with_name(f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        place.mkdir()
        try:
            yield str(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def commit(self, files: Sequence[str]) -> None:
        """Add staged files, in this order behind the rows that are there."""
        adopt_parts(self.folder, map(Path, files))

    @contextmanager
    def replacement(self) -> Iterator["HistorySink"]:
        """An empty sink that takes the place of this one when the block ends without an error.

        Call it while `locked`. Until then readers have the old rows; a killed run leaves them.
        """
        with replaced_folder(self.folder) as building:
            new = HistorySink(building, self.schema)
            new._create()
            yield new

    def rows(self) -> ParquetSource:
        """All rows, by position in the order they were written."""
        return local_files(self.folder, self.what, times=self.schema.ordering)

    def read_identities(self, columns: Sequence[str], window: Window | None) -> pl.DataFrame:
        """`columns` of the rows in `window` that have every feature of the view; None is all.

        Row groups whose times are all outside are not read.
        """
        rows, wanted = self.rows(), set(self.schema.arrow.names)
        complete = tuple(file for file in rows.files if wanted <= set(file.schema.names))
        types = self.schema.types(columns)
        finished = read_keys(replace(rows, files=complete), types, self.schema.timestamp, window)
        return finished.drop(POSITION)

    def _lock(self) -> AbstractContextManager[object]:
        lock = FileLock(self.folder.parent / f".{self.folder.name}.writer.lock")
        try:
            return lock.acquire(timeout=0)
        except Timeout:
            _log.warning("%s: waiting for another process that writes to it", self.what)
            return lock.acquire()

    def _create(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if self._parts():
            if self._has_schema():
                return
            _log.warning(
                "%s: a feature that the view gained is null in the rows that are there. "
                "Materialize their window again to fill it.",
                self.what,
            )
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

    def _has_schema(self) -> bool:
        """Whether the newest file has the columns of the view; other keys or types are refused."""
        newest = self.folder / self._parts()[-1]
        found = read_schema(newest)
        wanted = self.schema.arrow
        types = {field.name: field.type for field in found}
        gained = [name for name in wanted.names if name not in types]
        identity = {*self.schema.keys, *self.schema.ordering}
        is_other = any(types.get(field.name, field.type) != field.type for field in wanted)
        if is_other or identity & set(gained):
            raise schema_error(
                self.what,
                got=_columns(found),
                expected=_columns(wanted),
                remedy="A sink keeps its keys and types: give the view a new name and sink path, "
                "or remove the folder and materialize again.",
            )
        return bool(found.names == wanted.names)


def open_sink(view: Any, schema: ViewSchema, repo_path: str | Path | None) -> HistorySink:
    """The sink declared by `view` (its `sink_source`); nothing is read or created yet.

    Raises
    ------
    SchemaError
        The sink is not a local folder of Parquet files with the view's own column names.
    """
    source, what = view.batch_source, f"Feature view {view.name!r}, sink_source"
    if source.field_mapping:
        raise schema_error(
            what,
            got=f"field_mapping {dict(source.field_mapping)}",
            expected="none: a sink has the view's own names",
            remedy="Leave field_mapping out.",
        )
    return HistorySink(local_path(source, repo_path, what), schema)


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
