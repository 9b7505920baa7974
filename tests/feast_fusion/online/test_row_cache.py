import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from sys import getsizeof

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.online.cache.row_cache import Row, RowCache
from tests.waiting import PATIENCE_S

MIN_BYTES = 1 << 16
FIELDS = [b"a", b"b", b"c"]


def open_cache(max_bytes: int = 1 << 22, kind: type[RowCache] = RowCache) -> RowCache:
    """Without a listener, for as long as the test runs."""
    cache = kind(max_bytes)
    cache.open(time.monotonic() + 1e6)
    return cache


# The cache by itself


def test_a_row_is_found_by_its_key_and_field_list() -> None:
    cache = open_cache()
    short, long = cache.register([b"a"]), cache.register([b"a", b"b"])
    assert cache.register((b"a",)) == short
    cache.put(short, [b"k", b"absent"], [[b"1"], [None]], cache.begin())
    assert cache.get(short, [b"absent", b"k", b"unknown", b"k"]) == [
        (None,),
        (b"1",),
        None,
        (b"1",),
    ]
    assert cache.get(long, [b"k"]) == [None]
    assert (cache.stats.hits, cache.stats.misses) == (3, 2)


def test_an_invalidated_row_is_gone_from_every_field_list() -> None:
    cache = open_cache()
    lists = [cache.register([b"a"]), cache.register([b"a", b"b"])]
    cache.put(lists[0], [b"k", b"other"], [[b"1"], [b"2"]], cache.begin())
    cache.put(lists[1], [b"k"], [[b"1", None]], cache.begin())
    cache.invalidate([b"k", b"never seen"])
    assert cache.get(lists[0], [b"k", b"other"]) == [None, (b"2",)]
    assert cache.get(lists[1], [b"k"]) == [None]


def test_a_cache_that_nobody_opened_keeps_and_serves_nothing() -> None:
    cache = RowCache(MIN_BYTES)
    fields = cache.register([b"a"])
    before = cache.begin()
    cache.renew(time.monotonic() + 1e6)
    cache.put(fields, [b"k"], [[b"1"]], before)
    assert not cache.is_open and cache.get(fields, [b"k"]) == [None]
    cache.open(time.monotonic() + 1e6)
    cache.put(fields, [b"k"], [[b"1"]], before)  # read before Redis tracked the key
    assert cache.is_open and cache.get(fields, [b"k"]) == [None]


def test_a_lease_that_ran_out_hides_the_rows_until_it_is_renewed() -> None:
    cache = RowCache(MIN_BYTES)
    fields = cache.register([b"a"])
    cache.open(time.monotonic() + 0.5)
    cache.put(fields, [b"k"], [[b"1"]], cache.begin())
    deadline = time.monotonic() + PATIENCE_S
    while cache.get(fields, [b"k"]) != [None]:
        assert time.monotonic() < deadline
    cache.renew(time.monotonic() + 1e6)
    assert cache.get(fields, [b"k"]) == [(b"1",)]


def test_suspended_means_empty_and_closed_means_for_good() -> None:
    cache = open_cache()
    fields = cache.register([b"a"])
    cache.put(fields, [b"k"], [[b"1"]], cache.begin())
    cache.suspend()
    cache.renew(time.monotonic() + 1e6)
    cache.put(fields, [b"k"], [[b"1"]], cache.begin())
    assert cache.get(fields, [b"k"]) == [None] and cache.stats.n_rows == 0
    cache.close()
    cache.open(time.monotonic() + 1e6)
    assert not cache.is_open


def test_a_drop_also_voids_replies_on_their_way() -> None:
    cache = open_cache()
    fields, token = cache.register([b"a"]), cache.begin()
    cache.drop()
    cache.put(fields, [b"k"], [[b"1"]], token)
    assert cache.get(fields, [b"k"]) == [None]
    cache.put(fields, [b"k"], [[b"1"]], cache.begin())
    assert cache.get(fields, [b"k"]) == [(b"1",)]


def test_what_is_read_again_and_again_outlives_what_is_not() -> None:
    cache = open_cache(1 << 20)
    fields = cache.register([b"a"])
    favourites = [b"hot%d" % i for i in range(50)]
    cache.put(fields, favourites, [[os.urandom(1500)] for _ in favourites], cache.begin())
    for start in range(0, 3000, 100):  # four times what there is room for
        cold = [b"cold%d" % i for i in range(start, start + 100)]
        cache.put(fields, cold, [[os.urandom(1500)] for _ in cold], cache.begin())
        assert None not in cache.get(fields, favourites)
    assert cache.stats.evicted > 2000
    assert cache.get(fields, [b"cold0"]) == [None]


KEYS = [b"key%02d" % i for i in range(24)]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.integers(0, 2),
            st.lists(st.sampled_from(KEYS), max_size=8, unique=True),
            st.sampled_from([0, 1, 300, 6000, 70_000]),
        ),
        st.tuples(
            st.sampled_from(["get", "invalidate"]),
            st.integers(0, 2),
            st.lists(st.sampled_from(KEYS), max_size=8),
            st.just(0),
        ),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(OPERATIONS)
def test_it_is_a_dict_that_forgets_and_never_exceeds_its_bytes(
    operations: list[tuple[str, int, list[bytes], int]],
) -> None:
    cache = open_cache(MIN_BYTES)
    lists = [cache.register([b"%d" % i, b"other"]) for i in range(3)]
    model: dict[tuple[int, bytes], Row] = {}
    for number, (name, which, keys, size) in enumerate(operations):
        if name == "put":
            rows = [(bytes([number]) * size, None) for _ in keys]
            cache.put(lists[which], keys, rows, cache.begin())
            model.update(zip(((which, key) for key in keys), rows, strict=True))
        elif name == "invalidate":
            cache.invalidate(keys)
            model = {at: row for at, row in model.items() if at[1] not in keys}
        else:
            for key, row in zip(keys, cache.get(lists[which], keys), strict=True):
                assert row is None or row == model[which, key]
        assert cache.stats.n_bytes <= MIN_BYTES


def test_the_bytes_are_those_of_everything_it_holds() -> None:
    cache = open_cache(1 << 24)
    lists = [cache.register([b"%d" % i] * 7) for i in range(2)]
    for start in range(0, 4000, 500):
        keys = [b"item%07d" % i for i in range(start, start + 500)]
        rows = [[os.urandom(1545), *(os.urandom(9) for _ in range(5)), None] for _ in keys]
        for fields in lists:
            cache.put(fields, keys, rows, cache.begin())
        cache.get(lists[0], keys)
    assert cache.stats.n_bytes == pytest.approx(reachable_bytes(cache), rel=0.05)
    assert cache.stats.n_bytes > 8000 * 1600 - 4000 * 1545  # the two lists share their values


def reachable_bytes(cache: RowCache) -> int:
    """Every object that the attributes of a cache hold, but for values that two rows share."""
    total, pending = 0, [vars(cache)[name] for name in ("_slots", "_clock", "_tables", "_read")]
    while pending:
        thing = pending.pop()
        total += 0 if thing is None else getsizeof(thing)
        if isinstance(thing, dict):
            pending += [part for pair in thing.items() for part in pair]
        elif isinstance(thing, list | tuple):
            pending += thing
    return total


# The order of events: a row is never older than what its reader saw before


class Unguarded(RowCache):
    """Planted bug: takes every reply, however old."""

    def begin(self) -> int:
        return 1 << 60


class Forgetful(RowCache):
    """Planted bug: replies are checked against invalidations only, not against each other."""

    def put(
        self,
        fields_id: int,
        keys: Sequence[bytes],
        replies: Sequence[Sequence[bytes | None]],
        token: int,
    ) -> None:
        changes, slots = self._changes, self._slots[:]
        super().put(fields_id, keys, replies, token)
        self._changes, self._slots = changes, slots


@dataclass
class Reader:
    """One thread of a service: what it has under way, and the newest version it saw."""

    token: int | None = None
    reply: int | None = None
    seen: int = 0


@dataclass
class History:
    """A cache, and a Redis of one key whose value is its version, as seen by three readers."""

    cache: RowCache
    version: int = 1
    n_undelivered: int = 0
    readers: list[Reader] = field(default_factory=lambda: [Reader() for _ in range(3)])

    def step(self, event: str, reader: Reader) -> None:
        """Let one thing happen; raises AssertionError where the cache breaks its promise."""
        fields = self.cache.register(FIELDS)
        if event == "write":
            self.version += 1
            self.n_undelivered += 1
        elif event == "deliver" and self.n_undelivered:
            self.n_undelivered -= 1
            self.cache.invalidate([b"k"])
        elif event == "drop":
            self.cache.drop()
        elif event == "evict":  # another key's rows take all the room
            self.cache.put(fields, [b"big"], [[bytes(60_000)]], self.cache.begin())
        elif event == "get" and (row := self.cache.get(fields, [b"k"])[0]) is not None:
            self._saw(reader, int(row[0] or b""))
        elif event == "begin":
            reader.token, reader.reply = self.cache.begin(), None
        elif event == "ask" and reader.token is not None:
            reader.reply = self.version
        elif event == "put" and reader.token is not None and reader.reply is not None:
            self.cache.put(fields, [b"k"], [[b"%d" % reader.reply]], reader.token)
            reader.seen, reader.token = max(reader.seen, reader.reply), None

    def _saw(self, reader: Reader, version: int) -> None:
        assert version >= reader.seen, "older than what this reader saw before"
        assert self.n_undelivered or version == self.version, "stale after the invalidation"
        reader.seen = version


EVENTS = ["begin", "ask", "put", "get", "write", "deliver", "drop", "evict"]


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 2)), max_size=60))
def test_no_order_of_events_shows_an_old_row(events: list[tuple[str, int]]) -> None:
    replay(RowCache, events)


def replay(kind: type[RowCache], events: list[tuple[str, int]]) -> None:
    history = History(open_cache(MIN_BYTES, kind))
    for event, reader in events:
        history.step(event, history.readers[reader])


OVERTAKEN = [("begin", 0), ("ask", 0), ("write", 0), ("deliver", 0), ("put", 0), ("get", 1)]
TWO_READERS = [("begin", 0), ("ask", 0), ("write", 0), ("begin", 1), ("ask", 1)]
LATE_OLD = [*TWO_READERS, ("put", 1), ("put", 0), ("get", 1)]
EARLY_OLD = [*TWO_READERS, ("put", 0), ("put", 1), ("get", 1)]
EVICTED_BETWEEN = [*TWO_READERS, ("put", 1), ("evict", 2), ("put", 0), ("get", 1)]


@pytest.mark.parametrize("events", [OVERTAKEN, LATE_OLD, EARLY_OLD, EVICTED_BETWEEN])
def test_known_races_end_well(events: list[tuple[str, int]]) -> None:
    replay(RowCache, events)


@pytest.mark.parametrize(
    ("kind", "events"),
    [(Unguarded, OVERTAKEN), (Forgetful, LATE_OLD), (Forgetful, EVICTED_BETWEEN)],
)
def test_the_replay_finds_planted_bugs(kind: type[RowCache], events: list[tuple[str, int]]) -> None:
    with pytest.raises(AssertionError, match=r"stale|older"):
        replay(kind, events)
