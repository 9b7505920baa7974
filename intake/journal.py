"""A journal of what a service has acknowledged: it is here, once, whatever happens next.

A folder of append-only files (`intake.journal_file`), one writer each, an archive of those that are
prepared (`intake.journal_archive`), and an index of what is where (`intake.journal_index`).
"""

import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Generic

from feast_fusion.errors import FeastFusionError, StoreUnavailableError
from feast_fusion.files import sync_path
from intake.journal_file import (
    create_file,
    cut_file,
    format_line,
    journal_files,
    try_lock,
)
from intake.journal_index import JournalIndex
from intake.recent_ids import RecentIds
from intake.record_format import R, RecordFormat

_WARN_EVERY_S = 60.0
_TRIED_BYTES = 1 << 20  # that must be free again after the disk was full
_FILE_BYTES = 16 << 20  # a file that has grown so far is followed by another
_N_ENDS = 8  # files that are told of
_INDEX_RECORDS = 20_000  # taken into the index at a time: fewer write the same pages more often

_log = logging.getLogger(__name__)


class Journal(AbstractContextManager["Journal[R]"], Generic[R]):
    """The journal in `folder`, open for appending by any number of threads.

    The folder may have other writers: each has its own file. Records that were there when it was
    opened, or came through this object, are known by the index, and the last of them by memory.

    Attributes
    ----------
    last_error : why the last write failed; None after one that went well

    Raises
    ------
    SchemaError
        A file in the folder is damaged.
    StoreUnavailableError
        The folder cannot be made or read.
    """

    def __init__(self, folder: Path, of: RecordFormat[R]) -> None:
        self.folder, self._of = folder, of
        self._lock = threading.Lock()  # what is in memory
        self._commit = threading.Lock()  # the file: held while a group is written and synced
        self._next = _Group()
        self._in_flight: dict[str, _Group] = {}
        self._file: int | None = None
        self._name, self._size = "", 0
        self._ends: dict[str, int] = {}
        self._is_closed = False
        self._index = JournalIndex(folder, of)
        self._n_unindexed = 0
        self._indexer: threading.Thread | None = None
        self._warn_again_at = -math.inf
        self.last_error: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sync_path(folder.parent)
            self._index.catch_up()
            self._recent = RecentIds(self._foreign_ids())
        except OSError as error:
            raise self._unavailable(error) from error

    def _foreign_ids(self) -> Iterator[str]:
        """Records of writers that live, behind what is indexed; torn ends of others are cut off."""
        for path in journal_files(self.folder):
            with path.open("r+b") as file:
                if not try_lock(file):
                    yield from self._index.ids_behind(path)
                elif (end := self._index.add_file(path)) < path.stat().st_size:
                    cut_file(path, file, end)

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, records: Sequence[R]) -> list[bool]:
        """Whether each record is new; when this returns, all of them survive a loss of power.

        Callers that append at the same time share one sync. A record whose id is in the journal
        already, or twice among `records`, is a duplicate and not written.

        Raises
        ------
        StoreUnavailableError
            The disk is full or fails, or the journal is closed: none of the new records counts as
            written. The next call starts a new file.
        """
        ids = list(map(self._of.id_of, records))
        bodies = list(map(self._of.encode, records))
        while True:
            asked_at = self._recent.n_added
            known = self._indexed(ids)
            with self._lock:
                if not self._recent.has_all_since(asked_at):
                    continue  # an id may have gone from memory into the index meanwhile
                is_new, groups = self._join(ids, bodies, known)
                group = self._next
                leads = bool(group.bodies) and not group.has_leader
                group.has_leader |= leads
                break
        if leads:
            with self._commit:
                self._commit_group(group)
        for joined in groups:
            joined.done.wait()
            if joined.error is not None:
                raise self._unavailable(joined.error) from joined.error
        return is_new

    def check(self) -> None:
        """Whether the last write went well.

        Raises
        ------
        StoreUnavailableError
            It did not, and nobody has found since that the next one will.
        """
        if self.last_error is not None:
            raise StoreUnavailableError(self.last_error)

    def try_again(self) -> None:
        """After a failed write: find out whether there is room again, by a file that is removed."""
        if self.last_error is None:
            return
        try:
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(bytes(_TRIED_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._note(error)
        else:
            self._note(None)

    @property
    def ends(self) -> dict[str, int]:
        """How long the last files are that this object has written, up to what is synced."""
        with self._lock:
            return dict(self._ends)

    def begin_file(self) -> None:
        """What follows goes into a new file, so that the last one can be archived."""
        with self._commit:
            self._end_file()

    def close(self) -> None:
        """Waits for what is being written; later appends are refused. Safe to repeat."""
        with self._commit:
            with self._lock:
                self._is_closed = True
            self._end_file()
            if self._indexer is not None:
                self._indexer.join()
                self._take_in()
            self._index.close()

    def _end_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._index_soon()

    def _index_soon(self) -> None:
        """Brings the index up to what is synced, while appending goes on."""
        if self._indexer is None or not self._indexer.is_alive():
            self._n_unindexed = 0
            self._indexer = threading.Thread(target=self._take_in, name="journal-index")
            self._indexer.start()

    def _take_in(self) -> None:
        try:
            for name, end in self.ends.items():
                if (path := self.folder / name).exists():  # else it is archived
                    self._index.add_file(path, end)
        except (OSError, FeastFusionError) as error:  # again when there are more records
            self._note_index(error)

    def _note_index(self, error: Exception) -> None:
        _log.warning("journal %s: it is not indexed for now: %s", self.folder, error)

    def _indexed(self, ids: list[str]) -> list[bool]:
        try:
            return self._index.contains(ids)
        except StoreUnavailableError as error:  # what is there twice counts once all the same
            self._note_index(error)
            return [False] * len(ids)

    def _join(
        self, ids: list[str], bodies: list[bytes], known: list[bool]
    ) -> tuple[list[bool], "set[_Group]"]:
        """Adds new records to the next group; which are new, and the groups to wait for.

        A duplicate of a record that is not synced yet waits for it: it must not be acknowledged
        on the word of a write that may still fail.
        """
        is_new, groups = [], set()
        for record_id, body, is_known in zip(ids, bodies, known, strict=True):
            group = self._in_flight.get(record_id)
            is_new.append(group is None and not is_known and record_id not in self._recent)
            if is_new[-1]:
                group = self._in_flight[record_id] = self._next
                group.bodies[record_id] = body
            if group is not None:
                groups.add(group)
        return is_new, groups

    def _commit_group(self, group: "_Group") -> None:
        with self._lock:
            self._next = _Group()
            is_closed = self._is_closed
        try:
            if is_closed:
                raise OSError("the journal is closed")
            self._write(list(group.bodies.values()))
            self._note(None)
        except BaseException as error:
            group.error = error
            if not is_closed:
                self._note(error)
            if not isinstance(error, OSError):
                raise
        finally:
            with self._lock:
                for record_id in group.bodies:
                    del self._in_flight[record_id]
                if group.error is None:
                    self._recent.add(group.bodies)
                    self._ends[self._name] = self._size
                    while len(self._ends) > _N_ENDS:
                        del self._ends[next(iter(self._ends))]
            group.done.set()
        self._n_unindexed += len(group.bodies)
        if self._size >= _FILE_BYTES:
            self._end_file()
        elif self._n_unindexed >= _INDEX_RECORDS:
            self._index_soon()

    def _write(self, bodies: list[bytes]) -> None:
        if self._file is None:
            self._name, self._file = create_file(self.folder)
            self._size = 0
        data = b"".join(format_line(self._size, body) for body in bodies)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except BaseException:
            # After a failed sync the kernel may count lost pages as written: this file is over.
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            os.close(self._file)
            self._file = None
            raise
        self._size += len(data)

    def _note(self, error: BaseException | None) -> None:
        """How writing went; the log is told of failures once a minute, and of the end of them."""
        if error is None:
            if self.last_error is not None:
                _log.warning("journal %s: it can be written again", self.folder)
            self.last_error, self._warn_again_at = None, -math.inf
            return
        self.last_error = str(self._unavailable(error))
        if time.monotonic() >= self._warn_again_at:
            self._warn_again_at = time.monotonic() + _WARN_EVERY_S
            _log.warning("%s", self.last_error)

    def _unavailable(self, error: BaseException) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"journal {self.folder}: got {error}, expected to write and sync there. "
            "Free space or correct the permissions, then send the same again."
        )


class _Group:
    """Records that are written and synced together: lines by id, and how it went."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.has_leader = False
        self.done = threading.Event()
        self.error: BaseException | None = None
