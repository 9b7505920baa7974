"""Ranking metrics the slow way: every pair, every order of equal scores.

`tie` and `first_rank` are where the planted bugs of the tests go in.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, permutations

Row = tuple[int, float]  # label, score


def auc_by_pairs(rows: Sequence[Row], *, tie: float = 0.5) -> float:
    """Mean over pairs (positive, negative): 1 when in order, `tie` when equal, else 0."""
    positives = [score for label, score in rows if label]
    negatives = [score for label, score in rows if not label]
    wins = [
        1.0 if high > low else tie if high == low else 0.0
        for high in positives
        for low in negatives
    ]
    return sum(wins) / len(wins) if wins else math.nan


def by_user(users: Sequence[int], rows: Sequence[Row]) -> list[list[Row]]:
    return [
        [row for other, row in zip(users, rows, strict=True) if other == user]
        for user in sorted(set(users))
    ]


def gauc_by_pairs(users: Sequence[int], rows: Sequence[Row]) -> float:
    """AUC of each user with both labels, weighted by rows."""
    weighed = [
        (len(own), auc_by_pairs(own))
        for own in by_user(users, rows)
        if 0 < sum(label for label, _ in own) < len(own)
    ]
    total = sum(n for n, _ in weighed)
    return sum(n * value for n, value in weighed) / total if total else math.nan


def ndcg_of(labels: Sequence[int], k: int, *, first_rank: int = 1) -> float:
    """Of labels in ranked order."""
    discounts = [1 / math.log2(rank + 1) for rank in range(first_rank, first_rank + k)]
    gain = sum(label * d for label, d in zip(labels, discounts, strict=False))
    ideal = sum(label * d for label, d in zip(sorted(labels)[::-1], discounts, strict=False))
    return gain / ideal


def recall_of(labels: Sequence[int], k: int) -> float:
    return sum(labels[:k]) / sum(labels)


def reciprocal_rank_of(labels: Sequence[int]) -> float:
    return 1 / (list(labels).index(1) + 1)


def ranked_orders(rows: Sequence[Row]) -> list[list[int]]:
    """The labels in every order in which no score is followed by a higher one."""
    return [
        [label for label, _ in order]
        for order in permutations(rows)
        if all(a[1] >= b[1] for a, b in pairwise(order))
    ]


def mean_over_users(
    users: Sequence[int],
    rows: Sequence[Row],
    measure: Callable[[list[int]], float],
    over_orders: Callable[[list[float]], float] = lambda values: sum(values) / len(values),
) -> float:
    """Mean over users with a positive of the measure over every order of their equal scores."""
    found = [
        over_orders([measure(order) for order in ranked_orders(own)])
        for own in by_user(users, rows)
        if any(label for label, _ in own)
    ]
    return sum(found) / len(found) if found else math.nan


def log_loss_of(rows: list[tuple[int, float]]) -> float:
    """Mean of -log of the probability of what came true."""
    return sum(-math.log(p if label else 1 - p) for label, p in rows) / len(rows)


def ece_of(rows: list[tuple[int, float]], bins: int, *, closed: str = "left") -> float:
    """Per bin, its share of the rows times |mean probability - rate of positives|."""
    total = 0.0
    for at in range(bins):
        low, high = at / bins, (at + 1) / bins
        inside = [
            (label, p)
            for label, p in rows
            if (low <= p < high if closed == "left" else low < p <= high)
            or (closed == "left" and at == bins - 1 and p == 1.0)
        ]
        if inside:
            mean = sum(p for _, p in inside) / len(inside)
            rate = sum(label for label, _ in inside) / len(inside)
            total += len(inside) / len(rows) * abs(mean - rate)
    return total
