"""One user or item with live events: its state after them, and its newest row."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from serving.live.live_log import LiveKey, Read
from serving.live.prepared_history import PreparedHistory
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
    RunningUser,
)


class LiveRow(NamedTuple):
    """The newest row of one key: its times in microseconds, and what it is derived from."""

    key: LiveKey
    stamp: int
    created: int
    statistics: RunningStatistics
    interest: RunningInterest | None


class LiveEntity:
    """The state of `key` after its prepared events and the live events that were read.

    Attributes
    ----------
    seen : the newest score that was read
    """

    def __init__(self, history: PreparedHistory, key: LiveKey) -> None:
        self.seen = 0
        self._history = history
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

    def advance(self, read: Read, occurrences: Mapping[bytes, Occurrence]) -> None:
        """Takes in what was read; a member without an occurrence does not count."""
        fresh: dict[str, Occurrence] = {}
        for member in read.members:
            event = occurrences.get(member)
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
        """Codes of the items of the live events."""
        return [event.item for event in list(self._live.values())]

    def row(self) -> LiveRow | None:
        """The newest row; None without any event."""
        if self._last is None:
            return None
        statistics = self._statistics
        return LiveRow(self._key, statistics.stamp, self.seen, statistics, self._interest)

    def _start(self, live: Collection[Occurrence]) -> None:
        history, is_user = self._history, self._key.kind == "user"
        self._statistics = history.new_user() if is_user else history.new_item()
        self._interest = history.new_interest() if is_user else None
        self._last = None
        events = history.occurrences(self._key.kind, self._key.entity_id)
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
