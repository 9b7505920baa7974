"""What is measured of ranks: NDCG@10, hit rate, reciprocal rank, recall, coverage, novelty.

A query has one relevant item; a chosen item that was not ranked counts as not found.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.protocol import TOP, Queries, Ranked, Scores, Tied
from transformations.collaborative.histories import Events, Flags, Ints

MEASURES = ("ndcg@10", "hr@10", "mrr")
DEPTHS = (200, 500)
N_VISITORS = 60
_RESAMPLES = 1000

Gains = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over queries, and the bounds within which 95 % of the resampled means lie."""

    mean: float
    low: float
    high: float


def gains(rank: Ints) -> dict[str, Gains]:
    """(q,) of each measure by its name.

    The ideal list has the chosen item first, so NDCG@10 is 1 / log2(1 + rank) in the first ten.
    """
    is_found, is_top = rank > 0, (rank > 0) & (rank <= TOP)
    safe = np.where(is_found, rank, 1).astype(np.float64)
    return {
        "ndcg@10": np.where(is_top, 1 / np.log2(1 + safe), 0.0),
        "hr@10": is_top.astype(np.float64),
        "mrr": np.where(is_found, 1 / safe, 0.0),
    }


def measure(queries: Queries, ranked: Ranked, seed: int = 0) -> dict[str, Interval]:
    """Each of `MEASURES` with its interval by user."""
    return {
        name: bootstrap_by_user(queries.user, values, seed)
        for name, values in gains(ranked.rank).items()
    }


def bootstrap_by_user(users: Ints, values: Gains, seed: int = 0) -> Interval:
    """The mean of (n,) values, and its 95 % interval when whole users are drawn with replacement.

    Queries of one user are alike, so resampling queries would give too narrow an interval. Without
    a value all three are NaN.
    """
    return _interval(_resampled(users, values, seed), values.mean() if len(values) else np.nan)


def difference_by_user(users: Ints, ours: Gains, other: Gains, seed: int = 0) -> Interval:
    """The mean of `ours` less that of `other`, of the same (n,) queries, with its interval."""
    return bootstrap_by_user(users, ours - other, seed)


def auc_difference_by_user(
    users: Ints, labels: Flags, ours: Scores, other: Scores, seed: int = 0
) -> Interval:
    """The AUC of `ours` less that of `other`, of the same (n,) rows, with its interval.

    Both are resampled with the same users. NaN where all labels are alike.
    """
    _, code = np.unique(users, return_inverse=True)
    n = int(code.max(initial=-1)) + 1
    draws = np.random.default_rng(seed).integers(0, max(n, 1), (_RESAMPLES, n))
    weights: list[Gains] = [np.ones(n)]
    weights += [np.bincount(drawn, minlength=n).astype(np.float64) for drawn in draws]
    areas = [
        _weighted_auc(labels, scores, [each[code] for each in weights]) for scores in (ours, other)
    ]
    differences = areas[0] - areas[1]
    resampled = differences[1:]
    return _interval(resampled[np.isfinite(resampled)], float(differences[0]))


def ratio_by_user(users: Ints, ours: Gains, other: Gains, seed: int = 0) -> Interval:
    """The mean of `ours` over that of `other`, of the same (n,) queries, with its interval.

    Both are resampled with the same users. NaN where `other` has no gain at all.
    """
    if not other.any():
        return Interval(float("nan"), float("nan"), float("nan"))
    means = _resampled(users, ours, seed), _resampled(users, other, seed)
    ratios = means[0] / np.where(means[1] > 0, means[1], np.nan)
    return _interval(ratios[np.isfinite(ratios)], ours.mean() / other.mean())


def _weighted_auc(labels: Flags, scores: Scores, weights: Iterable[Gains]) -> Gains:
    """(w,) AUC of rows that count as often as each weighting says; NaN for one class alone."""
    _, level = np.unique(scores, return_inverse=True)
    found = []
    for weight in weights:
        positive, negative = (
            np.bincount(level, weight * labels),
            np.bincount(level, weight * ~labels),
        )
        below = np.cumsum(negative) - negative / 2  # an equal score is half a win
        pairs = positive.sum() * negative.sum()
        found.append((positive * below).sum() / pairs if pairs else np.nan)
    return np.array(found)


def _resampled(users: Ints, values: Gains, seed: int) -> Gains:
    """(1000,) means of (n,) values when users are drawn with replacement; none without a value."""
    if not len(values):
        return np.zeros(0)
    _, code = np.unique(users, return_inverse=True)
    totals, counts = np.bincount(code, values), np.bincount(code)
    draws = np.random.default_rng(seed).integers(0, len(counts), (_RESAMPLES, len(counts)))
    means: Gains = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return means


def _interval(resampled: Gains, mean: float) -> Interval:
    if not len(resampled):
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(mean), float(low), float(high))


def recall_at(places: Tied, depths: Sequence[int] = DEPTHS) -> dict[int, float]:
    """Share of chosen items among the first k, by k; among equals each order is equally likely.

    >>> recall_at(Tied(np.array([1, 3]), np.array([1, 6])), [4])  # the second at 3, 4, 5 or 6
    {4: 0.75}
    """
    n = places.last - places.first + 1
    inside = {k: np.clip(k - places.first + 1, 0, n) / n for k in depths}
    return {k: float(np.mean(np.where(places.first > 0, part, 0.0))) for k, part in inside.items()}


def n_distinct(ranked: Ranked) -> int:
    """How many items are in the first ten of any query."""
    return len(np.unique(ranked.top[ranked.top >= 0]))


def n_distinct_of_visitors(queries: Queries, ranked: Ranked, seed: int = 0) -> int:
    """How many items are in the first ten of 60 users, each at the user's last query."""
    users, from_end = np.unique(queries.user[::-1], return_index=True)
    drawn = np.random.default_rng(seed).permutation(len(users))[:N_VISITORS]
    top = ranked.top[len(queries) - 1 - from_end[drawn]]
    return len(np.unique(top[top >= 0]))


def novelty(queries: Queries, ranked: Ranked) -> float:
    """Bits of surprise of an item in the first ten, on average: -log2 of its share of users.

    Share of the users of the fitted rows that had an event with it (Castells et al. 2015, mean
    self-information); an item that nobody knows counts as known to one user.
    """
    shown = ranked.top[ranked.top >= 0]
    if not len(shown):
        return float("nan")
    n_users, by_item = users_of_items(queries.fitted, queries.n_fitted)
    return float(np.mean(-np.log2(np.maximum(by_item[shown], 1) / max(n_users, 1))))


def users_of_items(events: Events, n_rows: int) -> tuple[int, Ints]:
    """How many users the first rows have, and (i,) how many had an event with each item."""
    pairs = np.unique(events.user[:n_rows] * len(events.items) + events.item[:n_rows])
    counts = np.bincount(pairs % len(events.items), minlength=len(events.items))
    return len(np.unique(events.user[:n_rows])), counts
