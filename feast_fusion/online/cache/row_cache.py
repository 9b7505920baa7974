"""Rows of Redis kept in this process, bounded in bytes, served only while known to be right."""

import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from sys import getsizeof

Row = tuple[bytes | None, ...]

_SLOT_BYTES = 8
_MAX_SLOTS = 1 << 16
_SLOTS_SHARE = 32  # the change slots take at most this fraction of the bound
# As `sys.getsizeof` counts, which is too slow to ask for every value.
_POINTER = 8
_BYTES_OBJECT = getsizeof(b"")
_ROW_OBJECTS = getsizeof(()) + _BYTES_OBJECT + getsizeof((0, b"")) + getsizeof(1 << 30)
_NEVER = float("-inf")


@dataclass(frozen=True)
class CacheStats:
    """What a `RowCache` did since it was made, and holds now.

    Attributes
    ----------
    hits, misses : rows asked for and found, or not
    evicted : rows that left for want of room
    drops : times that everything was thrown away
    n_rows, n_bytes : rows held, and the memory of the whole cache
    """

    hits: int
    misses: int
    evicted: int
    drops: int
    n_rows: int
    n_bytes: int


class RowCache:
    """Replies to HMGET by key and field list; thread-safe; empty and shut until `open`.

    A read is `begin`, then `get`, then Redis for what was missing, then `put`. Whoever listens to
    Redis calls `invalidate`, `drop`, `renew` and `suspend`. The cache promises:

    - rows are served only while the lease of `open` and `renew` runs. A listener that hangs, or is
      not scheduled, causes misses and never stale rows.
    - `put` drops what may have changed since `begin`: a reply is not kept when the invalidation of
      its row was faster.
    - Whoever saw a row, from Redis or from the cache, never gets an older row from the cache
      afterwards, also while an invalidation is on its way. To this end `put` counts as a change of
      its keys, and takes out a row that differs from the new row.

    Changes are remembered per slot of the key's hash, not per key: the memory is fixed, and two
    keys of one slot only make a `put` more careful than needed. Eviction is by second chance
    (CLOCK; Corbato, 1968): the oldest row that was not read since it was last considered leaves.

    Parameters
    ----------
    max_bytes : bound on rows, keys and bookkeeping together, at least 65,536, as `sys.getsizeof`
        counts them (the allocator's own overhead, 1 to 2 %, is not counted)
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        n_slots = min(_MAX_SLOTS, max_bytes // (_SLOTS_SHARE * _SLOT_BYTES))
        self._slots = array("q", bytes(_SLOT_BYTES * n_slots))  # key's slot -> last change
        self._changes = 0
        self._floor = 0  # a smaller token was taken before the last drop
        self._valid_until = _NEVER
        self._closed = False
        self._fields_ids: dict[tuple[bytes, ...], int] = {}
        self._tables: list[dict[bytes, Row]] = []
        self._read: list[set[bytes]] = []  # keys of each table that the clock spares once
        self._clock: OrderedDict[tuple[int, bytes], int] = OrderedDict()  # -> bytes of the row
        self._row_bytes = 0
        self._hits = self._misses = self._evicted = self._drops = 0

    @property
    def is_open(self) -> bool:
        """Whether rows are served and kept at this moment."""
        return time.monotonic() < self._valid_until

    @property
    def stats(self) -> CacheStats:
        """Counts since the cache was made, and what it holds now."""
        with self._lock:
            return CacheStats(
                hits=self._hits,
                misses=self._misses,
                evicted=self._evicted,
                drops=self._drops,
                n_rows=len(self._clock),
                n_bytes=self._row_bytes + self._container_bytes(),
            )

    def register(self, fields: Sequence[bytes]) -> int:
        """The id of a field list, the same for an equal list; every row of it has its order."""
        with self._lock:
            fields_id = self._fields_ids.setdefault(tuple(fields), len(self._tables))
            if fields_id == len(self._tables):
                self._tables.append({})
                self._read.append(set())
            return fields_id

    def begin(self) -> int:
        """A token for `put`; to be taken before Redis is asked."""
        return self._changes

    def get(self, fields_id: int, keys: Sequence[bytes]) -> list[Row | None]:
        """The row of each key, None where Redis must be asked.

        An entity that Redis does not have is a row too: all its fields are None.
        """
        with self._lock:
            if time.monotonic() >= self._valid_until:
                self._misses += len(keys)
                return [None] * len(keys)
            found = list(map(self._tables[fields_id].get, keys))
            hits = list(compress(keys, found))
            self._read[fields_id].update(hits)
            self._hits += len(hits)
            self._misses += len(keys) - len(hits)
            self._evict()  # the set of keys that were read may have grown
            return found

    def put(
        self,
        fields_id: int,
        keys: Sequence[bytes],
        replies: Sequence[Sequence[bytes | None]],
        token: int,
    ) -> None:
        """Keep the replies to HMGET of `keys`, but for rows that may have changed since `token`.

        To be called with every reply that a caller goes on to use, also when the cache is shut:
        it is how the cache learns that somebody has seen a newer row than it holds.
        """
        rows = [(key, tuple(reply)) for key, reply in zip(keys, replies, strict=True)]
        costs = [_row_cost(key, row) for key, row in rows]
        with self._lock:
            table, is_fresh = self._tables[fields_id], token >= self._floor and self.is_open
            for (key, row), cost in zip(rows, costs, strict=True):
                held = table.get(key)
                if held == row:
                    continue
                if held is not None:
                    self._remove(fields_id, key)
                if is_fresh and self._slots[hash(key) % len(self._slots)] <= token:
                    table[key] = row
                    self._clock[fields_id, key] = cost
                    self._row_bytes += cost
            self._mark_changed(keys)
            self._evict()

    def invalidate(self, keys: Iterable[bytes]) -> None:
        """Forget `keys` in every field list, and any reply to them that is still on its way."""
        keys = list(keys)
        with self._lock:
            self._mark_changed(keys)
            for fields_id, table in enumerate(self._tables):
                for key in filter(table.__contains__, keys):
                    self._remove(fields_id, key)

    def drop(self) -> None:
        """Forget everything, and every reply that is still on its way; stay open."""
        with self._lock:
            self._forget()
            self._drops += 1

    def open(self, valid_until_s: float) -> None:
        """Start to keep and serve rows, empty, until `valid_until_s` of `time.monotonic`."""
        with self._lock:
            self._forget()  # a reply to an earlier read was not tracked
            if not self._closed:
                self._valid_until = valid_until_s

    def renew(self, valid_until_s: float) -> None:
        """Move the end of the lease; no effect on a cache that was not opened."""
        with self._lock:
            if self._valid_until != _NEVER:
                self._valid_until = valid_until_s

    def suspend(self) -> None:
        """Forget everything and stop serving until the next `open`."""
        with self._lock:
            self._forget()
            self._drops += self._valid_until != _NEVER
            self._valid_until = _NEVER

    def close(self) -> None:
        """Suspend for good."""
        self._closed = True
        self.suspend()

    def _forget(self) -> None:
        self._changes += 1
        self._floor = self._changes
        self._empty()

    def _mark_changed(self, keys: Iterable[bytes]) -> None:
        self._changes += 1
        slots, n_slots, change = self._slots, len(self._slots), self._changes
        for key in keys:
            slots[hash(key) % n_slots] = change

    def _remove(self, fields_id: int, key: bytes) -> None:
        del self._tables[fields_id][key]
        self._read[fields_id].discard(key)
        self._row_bytes -= self._clock.pop((fields_id, key))

    def _evict(self) -> None:
        """Make room. Tables do not shrink as rows leave, so in the end they are made anew."""
        excess = self._row_bytes + self._container_bytes() - self._max_bytes
        while excess > 0 and self._clock:
            fields_id, key = address = next(iter(self._clock))
            if key in self._read[fields_id]:
                self._read[fields_id].discard(key)
                self._clock.move_to_end(address)  # unlike a new insertion, it takes no room
            else:
                excess -= self._clock[address]
                self._remove(fields_id, key)
                self._evicted += 1
        if excess > 0:
            self._empty()

    def _container_bytes(self) -> int:
        return (
            getsizeof(self._slots)
            + getsizeof(self._clock)
            + sum(map(getsizeof, self._tables))
            + sum(map(getsizeof, self._read))
        )

    def _empty(self) -> None:
        self._tables = [{} for _ in self._tables]
        self._read = [set() for _ in self._read]
        self._clock = OrderedDict()
        self._row_bytes = 0


def _row_cost(key: bytes, row: Row) -> int:
    """Bytes of a row, its key and its place in the clock, the tables' own bytes not among them."""
    values = list(filter(None, row))
    values_bytes = sum(map(len, values)) + _BYTES_OBJECT * len(values)
    return _ROW_OBJECTS + len(key) + values_bytes + _POINTER * len(row)
