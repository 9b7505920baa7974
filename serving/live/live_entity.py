"""One user or item with live events: its state after them."""

from collections.abc import Collection, Mapping, Sequence

from serving.live.live_log import LiveKey, Read
from serving.live.prepared_history import PreparedHistory
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
)


class LiveEntity:
    """The state of `key` after its prepared events and the live events that were read.

    Attributes
    ----------
    seen : the newest score that was read, microseconds
    n_least : live events that the key has in Redis, unless some were lost
    written : event time of the newest row that this process wrote, microseconds; None before
    statistics : of a user a `RunningUser`
    interest : of a user, where there are vectors
    """

    def __init__(self, history: PreparedHistory, key: LiveKey, n_least: int = 0) -> None:
        self.key = key
        self.seen = 0
        self.n_least = n_least
        self.written: int | None = None
        self._history = history
        self._n_read = 0
        self._live: dict[str, Occurrence] = {}
        self._last: tuple[int, int, str] | None = None
        self.statistics: RunningStatistics
        self.interest: RunningInterest | None
        self._start([])

    def continues(self, read: Read) -> bool:
        """Whether `read` has all that came since the last one, and nothing went."""
        n_known = self._n_read + sum(map(bool, read.members))
        return n_known == read.n_events and read.n_before >= self.n_least

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
        self.seen, self.n_least = read.created, self._n_read

    @property
    def live_items(self) -> list[int]:
        """Codes of the items of the live events."""
        return [event.item for event in list(self._live.values())]

    @property
    def has_events(self) -> bool:
        """Whether there is a row to derive."""
        return self._last is not None

    def _start(self, live: Collection[Occurrence]) -> None:
        history, is_user = self._history, self.key.kind == "user"
        self.statistics = history.new_user() if is_user else history.new_item()
        self.interest = history.new_interest() if is_user else None
        self._last = None
        events = history.events.of(self.key.kind, self.key.entity_id)
        if live:
            # stable: prepared events without an id keep their order
            events = sorted([*events, *live], key=lambda event: event.order)
        self._add(events)

    def _add(self, events: Sequence[Occurrence]) -> None:
        for event in events:
            self.statistics.add(event)
        if self.interest is not None:
            for event in events:
                self.interest.add(event)
        if events:
            self._last = events[-1].order
