"""One user or item with live events: its running state, and its rows for the online views."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from serving.live.log import LiveKey, Read
from serving.live.prepared_history import PreparedHistory
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
    RunningUser,
)
from transformations.schema import ITEM_STATS, USER_RECENT, USER_STATS, VECTOR


class LiveRow(NamedTuple):
    """The newest row of one key: its times in microseconds, and where it comes from."""

    entity_id: str
    stamp: int
    created: int
    statistics: RunningStatistics
    interest: RunningInterest | None


class LiveEntity:
    """The state of `key` after its prepared events and the live ones that were read.

    Attributes
    ----------
    seen : the newest score that was read
    """

    def __init__(self, base: PreparedHistory, key: LiveKey) -> None:
        self.seen = 0
        self._base = base
        self._key = key
        self._n_read = 0
        self._live: dict[str, Occurrence] = {}
        self._last: tuple[int, int, str] | None = None
        self._statistics: RunningStatistics | RunningUser
        self._interest: RunningInterest | None
        self._start([])

    def continues(self, read: Read) -> bool:
        """Whether `read` has all that came since the last one, and nothing went."""
        return self._n_read + sum(map(bool, read.members)) == read.n_events

    def advance(self, read: Read, found: Mapping[bytes, Occurrence]) -> None:
        """Takes in what was read; members that are not in `found` do not count."""
        fresh: dict[str, Occurrence] = {}
        for member in read.members:
            event = found.get(member)
            if event is not None and event.event_id not in self._live:
                fresh.setdefault(event.event_id, event)
        self._live |= fresh
        events = sorted(fresh.values())
        if events and (self._last is None or events[0].order > self._last):
            self._add(events)
        elif events:
            self._start(self._live.values())  # late: averages and vectors depend on the order
        self._n_read += sum(map(bool, read.members))
        self.seen = read.created

    @property
    def live_items(self) -> list[int]:
        """Items of the live events, as places in the base's names."""
        return [event.item for event in list(self._live.values())]

    def row(self) -> LiveRow | None:
        """The newest row; None without any event."""
        if self._last is None:
            return None
        stamp = self._statistics.stamp
        return LiveRow(self._key.entity_id, stamp, self.seen, self._statistics, self._interest)

    def _start(self, live: Collection[Occurrence]) -> None:
        base, is_user = self._base, self._key.kind == "user"
        self._statistics = base.new_user() if is_user else base.new_item()
        self._interest = base.new_interest() if is_user else None
        self._last = None
        events = base.occurrences(f"{self._key.kind}_id", self._key.entity_id)
        if live:
            # stable: prepared events without an id keep their order
            events = sorted([*events, *live], key=lambda event: event.order)
        self._add(events)

    def _add(self, events: Sequence[Occurrence]) -> None:
        for event in events:
            self._statistics.add(event)
        if self._interest is not None:
            for event in events:
                self._interest.add(event)
        if events:
            self._last = events[-1].order


def item_tables(rows: Sequence[LiveRow]) -> dict[str, pa.Table]:
    """The rows of item_stats."""
    return {"item_stats": _table(rows, ITEM_STATS, [row.statistics.row() for row in rows])}


def user_tables(
    rows: Sequence[LiveRow], item_ids: pa.Array, encoder_id: str | None
) -> dict[str, pa.Table]:
    """The rows of user_stats, of user_recent and, with an `encoder_id`, of user_interest."""
    recent: list[Sequence[Any]] = []
    for row in rows:
        assert isinstance(row.statistics, RunningUser)
        recent.append(row.statistics.recent_row())
    tables = {
        "user_stats": _table(rows, USER_STATS, [row.statistics.row() for row in rows]),
        "user_recent": _recent_table(rows, recent, item_ids),
    }
    if encoder_id is not None:
        schema = pa.schema(
            [("user_id", pa.string()), ("event_timestamp", TIMESTAMP), ("user_interest", VECTOR)]
        )
        states = [[row.interest and row.interest.state] for row in rows]
        tables[f"user_interest__{encoder_id}"] = _table(rows, schema, states)
    return tables


def _recent_table(
    rows: Sequence[LiveRow], recent: Sequence[Sequence[Any]], item_ids: pa.Array
) -> pa.Table:
    places = USER_RECENT.set(2, pa.field("item_ids", pa.list_(pa.int64())))
    table = _table(rows, places, recent)
    lists = table["item_ids"].combine_chunks()
    named = pa.ListArray.from_arrays(lists.offsets, item_ids.take(lists.values))
    return table.set_column(table.column_names.index("item_ids"), "item_ids", named)


def _table(
    rows: Sequence[LiveRow], schema: pa.Schema, features: Sequence[Sequence[Any]]
) -> pa.Table:
    """Key, event_timestamp and created of each row, and its features in the order of `schema`."""
    columns = list(zip(*features, strict=True)) or [() for _ in schema.names[2:]]
    arrays = [
        pa.array([row.entity_id for row in rows], pa.string()),
        _times([row.stamp for row in rows]),
        *(
            pa.array(column, field.type)
            for column, field in zip(columns, list(schema)[2:], strict=True)
        ),
        _times([row.created for row in rows]),
    ]
    return pa.table(arrays, names=[*schema.names, "created"])


def _times(micros: Sequence[int]) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(TIMESTAMP)
