"""The newest rows of `build_activity`, one event at a time: what live events change online.

Events must come in replay order (`Occurrence.order`). After any number of them a row equals, to
the last bit, the newest row that `build_activity` and `replay` derive from the same events.
"""

import math
from array import array
from bisect import bisect_right
from collections import Counter, deque
from copy import copy
from heapq import nsmallest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intake.dataset import Activity
from transformations.categories import CategoryLookup
from transformations.event_log import DAY_US, SECOND_US
from transformations.interest import InterestRule, Vector, step
from transformations.item_versions import ItemVersions
from transformations.schema import CAUSED_AFTER_US

_NOT_KEPT = {"_windows", "_limit", "_lookup", "_times"}


class Occurrence(NamedTuple):
    """One event as it is replayed, for its user and for its item.

    Attributes
    ----------
    time : microseconds since the epoch
    item : code of the item in the ascending ids of all items
    event_id : empty where the event has none
    value : NaN where the event has none
    """

    time: int
    item: int
    event_id: str
    positive: bool
    value: float
    event_type: str | None

    @property
    def order(self) -> tuple[int, int, str]:
        """Events of one user, or of one item, are replayed in this order."""
        return self[:3]


class RunningStatistics:
    """The statistics of one item; of a user, what they share with an item's."""

    def __init__(self, activity: Activity) -> None:
        self._windows = [days * DAY_US for days in activity.window_days]
        self._times = array("q")
        self._n_positive = 0
        self._n_values = 0
        self._total = 0.0

    def add(self, event: Occurrence) -> None:
        """Takes the next event in."""
        self._times.append(event.time)
        self._n_positive += event.positive
        if event.value == event.value:  # not NaN
            self._n_values += 1
            self._total += event.value

    def keep(self) -> dict[str, Any]:
        """What `go_back` needs to come back to the events until now; small, however many."""
        return {key: copy(value) for key, value in vars(self).items() if key not in _NOT_KEPT}

    def go_back(self, n_events: int, kept: dict[str, Any]) -> None:
        """Forgets the events since the first `n_events`, after which the state was kept."""
        del self._times[n_events:]
        vars(self).update((key, copy(value)) for key, value in kept.items())

    @property
    def stamp(self) -> int:
        """Event timestamp of the rows: just after the newest event, microseconds."""
        return self._times[-1] + CAUSED_AFTER_US

    def row(self) -> list[Any]:
        """The features of ITEM_STATS, in its order."""
        times, newest = self._times, self._times[-1]
        n = len(times)
        return [
            n,
            self._n_positive,
            self._n_positive / n,
            self._total / self._n_values if self._n_values else None,
            *(n - bisect_right(times, newest - window) for window in self._windows),
            times[0] // SECOND_US,
            newest // SECOND_US,
        ]


class RunningUser(RunningStatistics):
    """Statistics and the list of recent items of one user."""

    def __init__(self, activity: Activity, categories: CategoryLookup) -> None:
        super().__init__(activity)
        self._limit = activity.categories
        self._lookup = categories
        self._events: Counter[str] = Counter()
        self._positives: Counter[str] = Counter()
        self._recent: deque[Occurrence] = deque(maxlen=activity.history)
        self._first_value = 0.0
        self._deviation = 0.0
        self._squares = 0.0

    def add(self, event: Occurrence) -> None:
        """Takes the next event in."""
        if event.value == event.value:
            if not self._n_values:
                self._first_value = event.value
            deviation = event.value - self._first_value
            self._deviation += deviation
            self._squares += deviation * deviation
        super().add(event)
        self._recent.append(event)
        for name in self._lookup.at(event.item, event.time):
            self._events[name] += 1
            self._positives[name] += event.positive

    def row(self) -> list[Any]:
        """The features of USER_STATS, in its order."""
        most = nsmallest(self._limit, self._events.items(), key=_most_events)
        ranked = [name for name, _ in most]
        row = super().row()
        row.insert(4, self._value_std())
        return [
            *row,
            ranked,
            [self._events[name] for name in ranked],
            [self._positives[name] for name in ranked],
        ]

    def recent_row(self) -> tuple[list[int], list[float], list[int], list[int]]:
        """Codes of the items, values, positives and ages of USER_RECENT, most recent first."""
        events, newest = list(self._recent)[::-1], self._times[-1]
        return (
            [event.item for event in events],
            [event.value for event in events],
            [int(event.positive) for event in events],
            [(newest - event.time) // SECOND_US for event in events],
        )

    def _value_std(self) -> float | None:
        n = self._n_values
        if not n:
            return None
        mean = self._deviation / n
        # mean * mean and * n / n: as build_activity rounds it (a power of 2 rounds otherwise)
        variance = max(self._squares / n - mean * mean, 0.0)
        return math.sqrt(variance) * n / n


class RunningInterest:
    """The interest of one user: a moving average of the vectors of the items acted on.

    state : the average; None as long as no event's item had a vector
    """

    def __init__(
        self,
        rule: InterestRule,
        versions: ItemVersions,
        vectors: NDArray[np.float32],
        present: NDArray[np.bool_],
    ) -> None:
        self._rule = rule
        self._versions = versions
        self._vectors = vectors
        self._present = present
        self.state: Vector | None = None

    def add(self, event: Occurrence) -> None:
        """Takes the next event in."""
        version = self._versions.row_at(event.item, event.time)
        if self._present[version]:
            weight, decay = self._rule(event.positive, event.event_type)
            self.state = step(self.state, self._vectors[version], weight, decay)


def _most_events(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]
