"""Rows of vectors nearest to a query: by an exact scan, or of many by inverted lists."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feast_fusion.inverted_lists import build_lists
from feast_fusion.online.search.distances import TINY, Metric, Query, Vectors
from feast_fusion.online.search.held_vectors import HeldVectors

_log = logging.getLogger(__name__)

Rows = NDArray[np.int64]

_REBUILT_AFTER = 10  # the lists are built anew once one row in so many has changed


class NearestRows:
    """Finds rows of `held`; its lists are built at the first search that needs them.

    Rows that changed after the lists were built are compared one by one, so a search never misses
    them; lists are searched by approximation (recall@10 above 0.95 in the tests). Measured at
    100,000 x 384 on one core: 8 ms instead of 49 for a search, recall@10 1.0 of clustered vectors.

    Parameters
    ----------
    exact_rows : up to so many rows are compared one by one
    """

    def __init__(self, held: HeldVectors, exact_rows: int) -> None:
        self._held = held
        self._exact_rows = exact_rows
        self._lists: dict[Metric, tuple[Any, int]] = {}  # and the refresh they were built after

    def search(self, query: Query, k: int, oldest: np.datetime64 | None) -> Rows:
        """At most `k` rows, nearest first, of those with an event at or after `oldest`."""
        held = self._held
        usable = ~np.isnat(held.times)
        if oldest is not None:
            usable &= held.times >= oldest
        rows = self._candidates(query, k)
        if rows is None:
            order = query.order(held.vectors, held.squares)
            order[~usable] = np.inf
            return _smallest(order, min(k, int(usable.sum())))
        rows = rows[usable[rows]]
        return rows[_smallest(query.order(held.vectors[rows], held.squares[rows]), k)]

    def _candidates(self, query: Query, k: int) -> Rows | None:
        """What the lists find, and every row that they do not know; None asks for an exact scan."""
        lists = self._lists_of(query.metric) if len(self._held) > self._exact_rows else None
        if lists is None:
            return None
        index, built = lists
        _, found = index.search(_direction(query.metric, query.vector[None]), k)
        rows: Rows = np.union1d(found[found >= 0], np.flatnonzero(self._held.changed_at > built))
        return rows

    def _lists_of(self, metric: Metric) -> tuple[Any, int] | None:
        held = self._held
        known = self._lists.get(metric)
        if known is not None:
            n_changed = np.count_nonzero(held.changed_at > known[1])
            if n_changed * _REBUILT_AFTER <= len(held):
                return known
        rows = np.flatnonzero(~np.isnat(held.times))
        try:
            index = build_lists(
                _direction(metric, held.vectors[rows]),
                rows,
                euclidean=metric is Metric.L2,
                of_length_1=metric is Metric.COSINE,
            )
        except ModuleNotFoundError:
            _log.warning(
                "faiss is not installed: %d vectors are compared one by one. "
                "Run: pip install 'feast-fusion[search]'",
                len(held),
            )
            self._exact_rows = len(held) * 2  # not said again until there are twice as many
            return None
        self._lists[metric] = (index, held.n_refreshes)
        return self._lists[metric]


def _direction(metric: Metric, vectors: Vectors) -> Vectors:
    """The vectors, for cosines of length 1."""
    if metric is not Metric.COSINE:
        return vectors
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Vectors = vectors / np.maximum(lengths, TINY)
    return directions


def _smallest(numbers: Vectors, k: int) -> Rows:
    """Where the `k` smallest numbers are, smallest first."""
    if k < len(numbers):
        part = np.argpartition(numbers, k)[:k]
        return part[np.argsort(numbers[part], kind="stable")]
    return np.argsort(numbers, kind="stable")
