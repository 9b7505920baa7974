"""The log of served features: what a share of the requests was answered from, as it was read.

`feast-fusion audit skew` compares it with what the offline store says of the same instants. Logging
never waits and never fails a request: what does not fit in memory or on disk is dropped, counted.
"""

import hashlib
import itertools
import logging
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet

if TYPE_CHECKING:
    from serving.slate import Slate

STAMP = "__event_timestamp"  # after a view's name: when the row of it that was served is of

# Per view the event timestamps of the rows that were read; NaT where there was none.
Stamps = Mapping[str, NDArray[np.datetime64]]

_HASHES = 1 << 64
_STALE_S = 3600  # temporary files older than this belong to a process that died
_log = logging.getLogger(__name__)


class ServedLog:
    """Writes served features to Parquet files in `folder`. Safe for many threads and processes.

    A row holds the request time (`event_timestamp`), user_id, item_id, each feature as it was
    served, and per view `<view>__event_timestamp`, null where there was no row. Nothing else: no
    query, no score. Files appear complete or not at all; a crash loses what is in memory.

    Parameters
    ----------
    share : of the requests that is logged, 0 to 1; which ones, the hash of the request id decides
    rows_per_request : how many items of a request, its first ones
    max_pending : requests that may wait to be written; more are dropped
    file_rows, file_s : a file is written when this many rows are there or its first is this old
    max_bytes : the oldest files are removed when the folder has more

    Attributes
    ----------
    n_logged, n_dropped, n_failed : sampled requests that are in files; that found no room; that
        could not be read or written

    Raises
    ------
    SchemaError
        `share` is not within 0 and 1.
    """

    def __init__(
        self,
        folder: Path,
        share: float,
        rows_per_request: int = 10,
        *,
        max_pending: int = 1_000,
        file_rows: int = 5_000,
        file_s: float = 30.0,
        max_bytes: int = 1 << 30,
    ) -> None:
        if not 0 <= share <= 1:
            raise schema_error(
                "share of requests to log", got=share, expected="0 to 1", remedy="Correct it."
            )
        self.n_logged = self.n_dropped = self.n_failed = 0
        self._folder = folder
        self._below = int(share * _HASHES)
        self._rows_per_request = rows_per_request
        self._file_rows, self._file_s, self._max_bytes = file_rows, file_s, max_bytes
        self._pending: queue.Queue[_Read | None] = queue.Queue(max_pending)
        self._tables: list[pa.Table] = []
        self._n_rows, self._flush_at = 0, 0.0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._is_closed = False
        self._writer = threading.Thread(target=self._run, name="served-log", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def offer_slate(self, request_id: str, slate: "Slate", at: NDArray[np.int64]) -> bool:
        """`offer` the places `at` of a slate, best first; they are decoded in the background."""
        places = at[: self._rows_per_request].copy()
        return self._put(request_id, lambda: _rows_of(slate, places))

    def offer(self, request_id: str, rows: TrainingSet, stamps: Stamps) -> bool:
        """Whether the request was sampled and will be written; at once, whatever the disk does.

        Parameters
        ----------
        rows : one per item, with user_id, item_id, event_timestamp and the features
        stamps : by the view's name in the registry, (n,) per view
        """
        n = min(len(rows), self._rows_per_request)
        first = {view: times[:n] for view, times in stamps.items()}
        return self._put(request_id, lambda: _table(rows.take(np.arange(n)), first))

    def close(self) -> None:
        """Write what is pending; later offers are dropped. Safe to repeat."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._pending.put(None)
        self._writer.join()

    def _put(self, request_id: str, read: "_Read") -> bool:
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

    def _take(self, read: "_Read") -> None:
        try:
            table = read()
        except Exception:  # whatever a stored row holds: the request itself was answered
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
            _write(self._folder, f"served-{_now()}-{next(self._numbers):06d}", table)
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


_Read = Callable[[], pa.Table]


def _rows_of(slate: "Slate", at: NDArray[np.int64]) -> pa.Table:
    replies = [slate.replies[place] for place in at.tolist()]
    stamps = {
        view.plan.name: np.where(view.present, view.event_timestamps, np.datetime64("NaT"))
        for view in slate.features.decode_items(replies, slate.now)
    }
    for view in slate.user.views:
        stamp = view.event_timestamps[0] if view.present[0] else np.datetime64("NaT")
        stamps[view.plan.name] = np.full(len(at), stamp)
    return _table(slate.rows(at), stamps)


def _table(rows: TrainingSet, stamps: Stamps) -> pa.Table:
    table = rows.to_arrow()
    for view, times in stamps.items():
        micros = pa.array(times.astype("datetime64[us]"))
        table = table.append_column(f"{view}{STAMP}", micros.cast(TIMESTAMP))
    return table


def _write(folder: Path, name: str, table: pa.Table) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    temporary = folder / f".{token}.tmp"
    try:
        with temporary.open("wb") as opened:
            pq.write_table(table, opened, compression="zstd")
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(folder / f"{name}-{token}.parquet")
    finally:
        temporary.unlink(missing_ok=True)


def _trim(folder: Path, max_bytes: int) -> None:
    """Remove the oldest files beyond `max_bytes`, and what dead processes left unfinished."""
    held = 0
    with suppress(FileNotFoundError):  # another process removes the same files
        for path in sorted(folder.glob("served-*.parquet"), reverse=True):
            held += path.stat().st_size
            if held > max_bytes:
                path.unlink()
        for path in folder.glob(".*.tmp"):
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
