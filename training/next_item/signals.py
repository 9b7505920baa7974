"""Signals of a user and an item: how much each model fitted before an instant speaks for the item.

A version is fitted on the events strictly before its instant and never changes. A request reads
the newest version before it, in training (point-in-time) and in serving (the newest) alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from transformations.collaborative.histories import Events, Flags, Floats, Histories, Ints
from transformations.collaborative.item_models import (
    NextItemRegression,
    event_weights,
    fit_ease,
    keep_strongest,
    normalised,
)

SIGNALS = (
    "together",
    "next",
    "disliked",
    "visit",
    "popular",
    "popular_long",
    "popular_short",
    "liked_rate",
    "text",
)
SEQUENCE = "sequence"
# Rows of events that the two windows of popularity reach back.
_WINDOWS = (20_000, 2_000)
_RATE_PRIOR = 5.0
_STRONGEST = 200
# Standardised scores are cut there: one item must not shrink the rest of a slate to nothing.
LIMIT = 12.0


@dataclass(frozen=True)
class SignalVersion:
    """What was fitted on the first `n_rows` events.

    Attributes
    ----------
    together, next : (i, i) weights of item-item models, see `item_models`
    popularity : (3, i) log of 1 + liked events: of all, of the long and of the short window
    liked_rate : (i,) share of events that were liked, drawn to the mean where there are few
    """

    n_rows: int
    together: sp.csr_matrix
    next: sp.csr_matrix
    popularity: Floats
    liked_rate: Floats

    def score(self, histories: Histories, vectors: Floats) -> Floats:
        """(q, i, f) one number per signal of `SIGNALS`, in its order; not standardised.

        vectors : (i, d) L2-normalised, zeros where an item has none
        """
        n_items = self.together.shape[0]
        weights = event_weights(histories)
        items = histories.sums(weights, n_items)
        disliked = histories.sums(weights * ~histories.positive, n_items)
        visit = histories.sums(weights * (histories.age_s == 0), n_items)
        total = np.asarray(items.sum(axis=1)).clip(1e-9)
        shared = [*self.popularity, self.liked_rate]
        found = [
            (items @ self.together).toarray(),
            (normalised(items) @ self.next).toarray(),
            (disliked @ self.together).toarray(),
            (visit @ self.next).toarray(),
            *(np.broadcast_to(each, (len(histories), n_items)) for each in shared),
            ((items @ vectors) / total) @ vectors.T,
        ]
        return np.stack(found, axis=2).astype(np.float32)


class SignalFitter:
    """Fits versions one after the other; each takes in only the events since the one before."""

    def __init__(self, events: Events, history: int) -> None:
        self._events, self._history = events, history
        self._regression = NextItemRegression(len(events.items))
        self._n_taken = 0

    def fit(self, n_rows: int) -> SignalVersion:
        """The version of the first `n_rows` events, at least as many as the last one's."""
        events, n_items = self._events, len(self._events.items)
        liked = np.flatnonzero(events.positive[self._n_taken : n_rows]) + self._n_taken
        histories = events.histories(events.user[liked], events.time[liked], self._history)
        self._regression.add(histories, events.item[liked])
        self._n_taken = n_rows
        counts = [_count(events, max(0, n_rows - window), n_rows) for window in (n_rows, *_WINDOWS)]
        n_events = np.bincount(events.item[:n_rows], minlength=n_items)
        mean = float(events.positive[:n_rows].mean()) if n_rows else 0.0
        rate = (counts[0] + _RATE_PRIOR * mean) / (n_events + _RATE_PRIOR)
        return SignalVersion(
            n_rows,
            keep_strongest(fit_ease(events, n_rows), _STRONGEST),
            keep_strongest(self._regression.solve(), _STRONGEST),
            np.log1p(np.stack(counts)).astype(np.float32),
            rate.astype(np.float32),
        )


def _count(events: Events, start: int, end: int) -> Ints:
    """(i,) liked events of each item among the rows from start to end."""
    rows = slice(start, end)
    return np.bincount(events.item[rows][events.positive[rows]], minlength=len(events.items))


def newest_before(versions: Sequence[SignalVersion], n_before: Ints) -> Ints:
    """(q,) which version a request reads of which `n_before` events were strictly earlier."""
    return np.searchsorted([version.n_rows for version in versions], n_before, side="right") - 1


def standardise(scores: NDArray[np.floating], allowed: Flags) -> Floats:
    """(q, i, f) scores over the spread among the allowed items of each query, 0 elsewhere.

    What one user's history says loudly another's says softly: only the comparison with the other
    items of the same request can be learnt from.
    """
    mask = allowed[:, :, None]
    n = np.maximum(allowed.sum(axis=1), 1)[:, None, None]
    mean = np.where(mask, scores, 0).sum(axis=1, keepdims=True) / n
    centred = np.where(mask, scores - mean, 0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n)
    found: Floats = np.clip(centred / np.maximum(spread, 1e-6), -LIMIT, LIMIT).astype(np.float32)
    return found


def request_context(histories: Histories) -> Floats:
    """(q, 6) of a request: how long and how liked the history is, and how long ago it ended."""
    n = histories.lengths
    liked = np.bincount(histories.query, histories.positive, minlength=len(histories))
    newest = np.bincount(histories.query, histories.age_s == 0, minlength=len(histories))
    idle = np.log1p(np.maximum(histories.idle_s, 0))
    columns = [
        np.log1p(n) / 3 - 1,
        (liked + 3) / (n + 6) - 0.5,
        idle / 5 - 1,
        histories.idle_s > 3600,
        np.log1p(newest),
        n == 0,
    ]
    return np.stack(columns, axis=1).astype(np.float32)
