"""One user or item with live events: its state after them."""

from bisect import bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from serving.live.live_log import LiveKey, Read
from serving.live.prepared_history import PreparedHistory
from transformations.interest import Vector
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
)

_EVERY = 256  # events between two states that are kept

Order = tuple[int, int, str]


class _Kept(NamedTuple):
    """The state after the first events, of which `n_live` were live; the last one had `order`."""

    n_events: int
    n_live: int
    order: Order
    statistics: dict[str, Any]
    interests: dict[str, Vector | None]


class LiveEntity:
    """The state of `key` after its prepared events and the live events that were read.

    Averages and vectors depend on the order of events. So that a late one needs no replay of them
    all, some former states are kept: about as far apart as they are back.

    Attributes
    ----------
    seen : the newest score that was read, microseconds
    n_least : live events that the key has in Redis, unless some were lost
    written : event time of the newest row that this process wrote, microseconds; None before
    statistics : of a user a `RunningUser`
    interests : of a user, by the encoder of the vectors
    """

    def __init__(
        self,
        history: PreparedHistory,
        key: LiveKey,
        n_least: int = 0,
        live: Sequence[Occurrence] = (),
    ) -> None:
        self.key = key
        self.seen = 0
        self.n_least = n_least
        self.written: int | None = None
        self._history = history
        self._n_read = 0
        self._live = {event.event_id: event for event in live}
        self._in_order = sorted(self._live.values())  # the live events
        self._n_events = 0
        self._last: Order | None = None
        self._kept: list[_Kept] = []
        self.statistics: RunningStatistics
        self.interests: dict[str, RunningInterest]
        self._start(self._in_order)

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
        for event in events:
            insort(self._in_order, event)
        if events and (self._last is None or events[0].order > self._last):
            self._add(events)
        elif events:
            self._go_back(events[0].order)
        self._n_read += sum(map(bool, read.members))
        self.seen, self.n_least = read.created, self._n_read

    @property
    def live_events(self) -> list[Occurrence]:
        """The live events, in no order. Safe beside `advance`."""
        return list(self._live.values())

    @property
    def live_items(self) -> list[int]:
        """Codes of the items of the live events."""
        return [event.item for event in self.live_events]

    @property
    def has_events(self) -> bool:
        """Whether there is a row to derive."""
        return self._last is not None

    def _start(self, live: Collection[Occurrence]) -> None:
        history, is_user = self._history, self.key.kind == "user"
        self.statistics = history.new_user() if is_user else history.new_item()
        self.interests = history.new_interests() if is_user else {}
        self._n_events, self._last, self._kept = 0, None, []
        self._add(_merged(history.events.of(*self.key), live))

    def _go_back(self, order: Order) -> None:
        """To the last state that was kept of the events before `order`, and on from there."""
        while self._kept and self._kept[-1].order >= order:
            self._kept.pop()
        if not self._kept:
            self._start(self._in_order)
            return
        kept = self._kept[-1]
        self.statistics.go_back(kept.n_events, kept.statistics)
        for encoder_id, interest in self.interests.items():
            interest.state = kept.interests[encoder_id]
        self._n_events, self._last = kept.n_events, kept.order
        prepared = self._history.events.of(*self.key, first=kept.n_events - kept.n_live)
        self._add(_merged(prepared, self._in_order[kept.n_live :]))

    def _add(self, events: Sequence[Occurrence]) -> None:
        for start in range(0, len(events), _EVERY):
            piece = events[start : start + _EVERY]
            for event in piece:
                self.statistics.add(event)
            for interest in self.interests.values():
                for event in piece:
                    interest.add(event)
            self._n_events += len(piece)
            self._last = piece[-1].order
            if self._n_events >= (self._kept[-1].n_events if self._kept else 0) + _EVERY:
                self._keep(self._last)

    def _keep(self, order: Order) -> None:
        kept = _Kept(
            self._n_events,
            bisect_right(self._in_order, order, key=lambda event: event.order),
            order,
            self.statistics.keep(),
            {encoder_id: interest.state for encoder_id, interest in self.interests.items()},
        )
        self._kept.append(kept)
        for at in range(len(self._kept) - 2, 0, -1):
            before, after = self._kept[at - 1].n_events, self._kept[at + 1].n_events
            if after - before <= self._n_events - after:
                del self._kept[at]


def _merged(prepared: list[Occurrence], live: Collection[Occurrence]) -> list[Occurrence]:
    """Both by order; stable, so that prepared events without an id keep theirs."""
    return sorted([*prepared, *live], key=lambda event: event.order) if live else prepared
