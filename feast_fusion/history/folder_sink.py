"""A sink that is a local folder of Parquet files."""

import logging
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from feast_fusion.errors import schema_error
from feast_fusion.files import recover_folder, replaced_folder, sync_path
from feast_fusion.history.history_sink import HistorySink
from feast_fusion.history.view_schema import ViewSchema
from feast_fusion.parquet.compaction import plan_compaction, write_together
from feast_fusion.parquet.location import retired_path
from feast_fusion.parquet.opening import local_files
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.parquet.parts import adopt_parts, append_part, new_part
from feast_fusion.parquet.whole import read_schema

_log = logging.getLogger(__name__)
# Beside a sink, behind its name: a replacement, staged files, those of a replacement.
_PLACES = ("new.tmp", f"{'[0-9a-f]' * 8}.tmp", f"new.tmp.{'[0-9a-f]' * 8}.tmp")


class FolderSink(HistorySink):
    """A local folder of Parquet files; one process at a time writes to it.

    A file is complete on disk before it gets its name. A `replacement` exchanges the folder.
    """

    def __init__(self, folder: Path, schema: ViewSchema) -> None:
        self.folder = folder
        self.schema = schema

    @property
    def what(self) -> str:
        """See `HistorySink`."""
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
        """See `HistorySink`; a path that is a file is refused."""
        self._refuse_file()
        # Looked at without the lock, which a running job may hold for hours.
        if self._parts() and self._has_schema():
            return
        with self.locked():
            pass

    def append(self, table: pa.Table) -> None:
        """See `HistorySink`."""
        append_part(self.folder, table, sync=True)

    @contextmanager
    def staging(self) -> Iterator[str]:
        """See `HistorySink`. What a killed run left is removed when the next one begins."""
        name = self.folder.name.removeprefix(".")  # of a replacement, which is hidden
        place = self.folder.with_name(f".{name}.{uuid.uuid4().hex[:8]}.tmp")
        place.mkdir()
        try:
            yield str(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def commit(self, files: Sequence[str]) -> None:
        """See `HistorySink`."""
        adopt_parts(self.folder, map(Path, files))

    @contextmanager
    def replacement(self) -> Iterator["HistorySink"]:
        """See `HistorySink`."""
        with replaced_folder(self.folder) as building:
            new = FolderSink(building, self.schema)
            new._create()
            yield new

    def compact(self) -> tuple[int, int]:
        """See `HistorySink`."""
        rows = self.rows()
        groups = plan_compaction(rows.files)
        retired = {Path(file.path) for group in groups for file in group}
        if groups:
            with replaced_folder(self.folder) as building:
                for path in self.folder.rglob("*.parquet"):
                    relative = retired_path(str(path)) if path in retired else path
                    link_file(path, building / Path(relative).relative_to(self.folder))
                for group in groups:
                    write_together(rows, group, new_part(building))
                sync_path(building)
        return len(rows.files), len(rows.files) - len(retired) + len(groups)

    def expire(self, before: datetime) -> int:
        """See `HistorySink`."""
        kept = self.folder / retired_path("")
        # A file's status changed when it was retired, and its content long before.
        expired = [path for path in kept.glob("*") if path.stat().st_ctime < before.timestamp()]
        for path in expired:
            path.unlink()
        return len(expired)

    def rows(self) -> ParquetSource:
        """See `HistorySink`."""
        return local_files(self.folder, self.what, times=self.schema.ordering)

    def _lock(self) -> AbstractContextManager[object]:
        lock = FileLock(writer_lock(self.folder))
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
            self.warn_of_gained()
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
        found = read_schema(self.folder / self._parts()[-1])
        return not self.gained(found) and bool(found.names == self.schema.arrow.names)


def writer_lock(folder: Path) -> Path:
    """What the one process holds that writes to the sink in `folder`."""
    return folder.with_name(f".{folder.name}.writer.lock")


def link_file(path: Path, name: Path) -> None:
    """Another name of a file, or a copy where there are no links."""
    name.parent.mkdir(exist_ok=True)
    try:
        name.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copy2(path, name)
