"""Item factors and what they expect, by loops: one user or item and one least squares at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Answer = tuple[int, int, float]  # user, item, what was answered

RIDGE, PRIOR, WIDTH, PASSES = 8.0, 5.0, 8, 8


@dataclass(frozen=True)
class Fitted:
    """mean of each item that has an answer, factors (i, r) of all."""

    means: dict[int, float]
    factors: Numbers


def fit(answers: Sequence[Answer], n_users: int, n_items: int) -> Fitted:
    """answer = overall + mean of the item + bias of the user + p . q, the ridge on p and q."""
    given = np.array([answer for _, _, answer in answers])
    overall, spread = given.mean(), given.std() or 1.0
    mean, bias = np.zeros(n_items), np.zeros(n_users)
    for _ in range(2):
        for item in range(n_items):
            left = [a - overall - bias[u] for u, i, a in answers if i == item]
            mean[item] = sum(left) / (len(left) + PRIOR)
        for user in range(n_users):
            left = [a - overall - mean[i] for u, i, a in answers if u == user]
            bias[user] = sum(left) / (len(left) + PRIOR)
    left = [(u, i, (a - overall - mean[i] - bias[u]) / spread) for u, i, a in answers]
    items = np.random.default_rng(0).normal(0.0, 0.3, (n_items, WIDTH)) / RIDGE**0.5
    users = np.zeros((n_users, WIDTH))
    for _ in range(PASSES):
        for user in range(n_users):
            users[user] = ridge([(items[i], r) for u, i, r in left if u == user], RIDGE)
        for item in range(n_items):
            items[item] = ridge([(users[u], r) for u, i, r in left if i == item], RIDGE)
    touched = {i for _, i, _ in answers}
    return Fitted({i: overall + mean[i] for i in touched}, items)


def ridge(rows: list[tuple[Numbers, float]], penalties: float | Numbers) -> Numbers:
    """w of least sum of (y - x . w)^2 plus penalties . w^2, by rows that ask each w to be 0."""
    width = len(rows[0][0]) if rows else WIDTH
    asked = np.diag(np.sqrt(np.broadcast_to(penalties, width)))
    x = np.vstack([*(x for x, _ in rows), asked])
    y = np.concatenate([[y for _, y in rows], np.zeros(width)])
    return np.linalg.lstsq(x, y, rcond=None)[0]


def expect(fitted: Fitted, history: Sequence[tuple[int, float]], item: int) -> dict[str, float]:
    """mean, bias, taste and total for a user with a history of (item, answer)."""
    rows = [
        (np.append(1.0, fitted.factors[i]), answer - fitted.means[i])
        for i, answer in history
        if i in fitted.means and np.isfinite(answer)
    ]
    found = ridge(rows, np.append(PRIOR, np.full(WIDTH, RIDGE))) if rows else np.zeros(1 + WIDTH)
    mean = fitted.means.get(item, np.nan)
    taste = float(found[1:] @ fitted.factors[item]) if item in fitted.means else np.nan
    bias = float(found[0])
    return {"mean": mean, "bias": bias, "taste": taste, "total": mean + bias + taste}
