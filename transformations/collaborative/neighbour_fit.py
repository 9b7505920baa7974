"""The item-item models and popularity at each version: rows of the view `item_neighbours`."""

import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from transformations import names
from transformations.activity import ActivityTable
from transformations.collaborative.histories import Events
from transformations.collaborative.item_models import NextItemRegression, fit_ease
from transformations.collaborative.versions import ItemVersion, Spread, stamp_of, version_ends
from transformations.schema import ITEM_NEIGHBOURS

# Newest events in which the two windows of popularity count.
_WINDOWS = (20_000, 2_000)
_RATE_PRIOR = 5.0
_STRONGEST = 200


def build_item_neighbours(
    events: Events, every: int, history: int, spread: Spread = map
) -> ActivityTable:
    """All versions of a log, oldest first, as the source of `item_neighbours`.

    Parameters
    ----------
    every : least number of events between two versions
    history : newest events of a user that count
    spread : who fits them
    """
    ends = version_ends(events.time, every)
    stamps = [stamp_of(events, end) for end in ends]
    n_rows = sum(int((events.known_from <= stamp).sum()) for stamp in stamps)
    rows = spread(NeighbourFit(events, ends, history), ends)
    return ActivityTable(names.ITEM_NEIGHBOURS, ITEM_NEIGHBOURS, n_rows, rows)


def fit_versions(events: Events, ends: list[int], history: int) -> Iterator[ItemVersion]:
    """A version of each of the first `ends` events, ascending."""
    return map(NeighbourFit(events, ends, history).version, ends)


class NeighbourFit:
    """Fits the version of the first `end` events, as its rows; the work of one serves the next.

    The sums of the regression are taken in from version to version, wherever they are fitted, so
    that they have the same bits.

    Parameters
    ----------
    ends : of all versions, ascending
    history : newest events of a user that count
    """

    def __init__(self, events: Events, ends: list[int], history: int) -> None:
        self._events, self._ends, self._history = events, ends, history
        self._forget()

    def __call__(self, end: int) -> pa.Table:
        """A row for each item that is known."""
        version = self.version(end)
        known = np.flatnonzero(self._events.known_from <= version.stamp)
        return version.rows(self._events.items, known)

    def version(self, end: int) -> ItemVersion:
        """The version of the first `end` events."""
        if end < self._taken_in:
            self._forget()
        for start, stop in pairwise([0, *self._ends]):
            if self._taken_in <= start < end:
                self._take_in(start, stop)
        with threadpool_limits(_n_threads()):
            return _fit(self._events, end, self._regression)

    def _forget(self) -> None:
        self._regression, self._taken_in = NextItemRegression(len(self._events.items)), 0

    def _take_in(self, start: int, end: int) -> None:
        events = self._events
        liked = np.flatnonzero(events.positive[start:end]) + start
        histories = events.histories(events.user[liked], events.time[liked], self._history)
        self._regression.add(histories, events.item[liked], events.weight[liked])
        self._taken_in = end


def _n_threads() -> int:
    """Half of the cores: beside other work, more threads wait for one another most of the time.

    No more than this process was given: a worker shares its machine with others.
    """
    given: list[int] = [pool["num_threads"] for pool in threadpool_info()]
    return min(max(1, (os.cpu_count() or 2) // 2), *given)


def _fit(events: Events, end: int, regression: NextItemRegression) -> ItemVersion:
    weights = [_weigh_positive(events, max(0, end - window), end) for window in (end, *_WINDOWS)]
    n_events = np.bincount(events.item[:end], minlength=len(events.items))
    mean = float(events.positive[:end].mean())
    liked = np.bincount(events.item[:end][events.positive[:end]], minlength=len(events.items))
    rate = (liked + _RATE_PRIOR * mean) / (n_events + _RATE_PRIOR)
    return ItemVersion(
        stamp_of(events, end),
        fit_ease(events, end, _STRONGEST),
        regression.solve(_STRONGEST),
        np.log1p(np.stack(weights)).astype(np.float32),
        rate.astype(np.float32),
    )


def _weigh_positive(events: Events, start: int, end: int) -> NDArray[np.float64]:
    """(i,) weight of the positive events of each item among the rows from start to end."""
    liked = np.flatnonzero(events.positive[start:end]) + start
    weights = np.zeros(len(events.items))
    np.add.at(weights, events.item[liked], events.weight[liked])
    return weights
