"""The log of served features: a share of the answers, with the features as they were read.

`feast-fusion audit skew` compares the log with what the offline store says of the same instants.
Logging neither delays nor fails a request: an answer for which memory or disk has no room is
dropped and counted.
"""

import hashlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.files import replaced_file
from feast_fusion.parquet.seal import write_parquet
from intake.tombstones import Tombstones
from transformations.served_files import new_served_file, served_files

# Reads what was served in one answer, see `serving.served_table`.
ReadServed = Callable[[], pa.Table]

_HASHES = 1 << 64
_STALE_S = 3600  # temporary files older than this belong to a process that died
_log = logging.getLogger(__name__)


class ServedLog(AbstractContextManager["ServedLog"]):
    """Writes served features to Parquet files in `folder`. Safe for many threads and processes.

    A file appears complete or not at all; a crash loses what is in memory. Columns and files are
    named in `transformations.served_files`.

    Parameters
    ----------
    share : of the requests that is logged, 0 to 1; the hash of the request id decides which
    max_pending : requests that may wait to be written; more are dropped
    file_rows, file_s : a file is written when it has this many rows or its first is this old
    max_bytes : the oldest files are removed when the folder has more
    forgotten : users of whom nothing is written; None where nobody is looked up

    Attributes
    ----------
    n_logged : sampled requests that are in files
    n_dropped : sampled requests that found no room
    n_failed : sampled requests that could not be read or written

    Raises
    ------
    SchemaError
        `share` is not within 0 and 1.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        *,
        max_pending: int = 1_000,
        file_rows: int = 5_000,
        file_s: float = 30.0,
        max_bytes: int = 1 << 30,
        forgotten: Tombstones | None = None,
    ) -> None:
        if not 0 <= share <= 1:
            raise schema_error(
                "share of requests to log", got=share, expected="0 to 1", remedy="Correct it."
            )
        self.n_logged = self.n_dropped = self.n_failed = 0
        self._folder, self._forgotten = folder, forgotten
        self._below = int(share * _HASHES)
        self._file_rows, self._file_s, self._max_bytes = file_rows, file_s, max_bytes
        self._pending: queue.Queue[ReadServed | None] = queue.Queue(max_pending)
        self._tables: list[pa.Table] = []
        self._n_rows, self._flush_at = 0, 0.0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._is_closed = False
        self._writer = threading.Thread(target=self._run, name="served-log", daemon=True)
        self._writer.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer(self, request_id: str, read: ReadServed) -> bool:
        """Whether the request was sampled and will be written; returns at once.

        Parameters
        ----------
        read : called in the background
        """
        digest = hashlib.blake2b(request_id.encode(), digest_size=8).digest()
        if int.from_bytes(digest, "big") >= self._below:
            return False
        with self._lock:  # held for an instant only: nothing is put after the end
            try:
                if self._is_closed:
                    raise queue.Full
                self._pending.put_nowait(read)
            except queue.Full:
                self.n_dropped += 1
                return False
        return True

    def close(self) -> None:
        """Write what is pending; later offers are dropped. Safe to repeat."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._pending.put(None)
        self._writer.join()

    def _run(self) -> None:
        while True:
            wait = self._flush_at - time.monotonic() if self._tables else None
            try:
                read = self._pending.get(timeout=None if wait is None else max(0.0, wait))
            except queue.Empty:
                self._flush()
                continue
            if read is None:
                self._flush()
                return
            self._take(read)
            if self._n_rows >= self._file_rows or time.monotonic() >= self._flush_at:
                self._flush()

    def _take(self, read: ReadServed) -> None:
        try:
            table = read()
        except Exception:  # whatever a stored row holds: the request has its answer
            self._fail(1)
            return
        if not self._tables:
            self._flush_at = time.monotonic() + self._file_s
        self._tables.append(table)
        self._n_rows += len(table)

    def _flush(self) -> None:
        tables, self._tables, self._n_rows = self._tables, [], 0
        if not tables:
            return
        try:
            table = pa.concat_tables(tables, promote_options="permissive")
            if self._forgotten is not None:
                table = table.filter(pa.array(~self._forgotten.select(table["user_id"])))
            with replaced_file(
                new_served_file(self._folder, next(self._numbers)), sync=True
            ) as path:
                write_parquet(path, table)
            _trim(self._folder, self._max_bytes)
        except Exception:
            self._fail(len(tables))
        else:
            self.n_logged += len(tables)

    def _fail(self, n: int) -> None:
        # Once is enough: a full disk would repeat it with every file.
        log = _log.debug if self.n_failed else _log.exception
        self.n_failed += n
        log("Served features were not logged; requests go on")


def _trim(folder: Path, max_bytes: int) -> None:
    """Remove the oldest files beyond `max_bytes`, and unfinished files of dead processes."""
    held = 0
    with suppress(FileNotFoundError):  # another process removes the same files
        for path in served_files(folder):
            held += path.stat().st_size
            if held > max_bytes:
                path.unlink()
        for path in folder.glob(".*.tmp"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()
