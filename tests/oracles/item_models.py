"""The item-item models by loops: one event, one user, one item at a time."""

import numpy as np
from numpy.typing import NDArray

from transformations.collaborative.histories import Events

Matrix = NDArray[np.float64]


def history_rows(events: Events, user: int, now: int, limit: int) -> list[int]:
    """The rows of a user strictly before an instant, oldest first, the newest `limit` of them."""
    rows = [
        row for row in range(len(events)) if events.user[row] == user and events.time[row] < now
    ]
    return rows[-limit:]


def weighted_history(events: Events, rows: list[int]) -> Matrix:
    """(i,) what the events of a history count for their items."""
    found = np.zeros(len(events.items))
    for place, row in enumerate(reversed(rows)):
        answer = 1.0 if events.positive[row] else 0.2
        found[events.item[row]] += answer / np.sqrt(1.0 + place)
    return found


def ease(events: Events, n_rows: int, ridge: float) -> Matrix:
    """(i, i) each column a ridge regression on the other items, whose own weight is kept at 0.

    With G = X'X + ridge I, column k over the others o is G[o, o]^-1 X[:, o]'X[:, k].
    """
    n_items, liked = len(events.items), liked_items(events, n_rows)
    found = np.zeros((n_items, n_items))
    for k in range(n_items):
        others = [j for j in range(n_items) if j != k]
        x = liked[:, others]
        gram = x.T @ x + ridge * np.eye(len(others))
        found[others, k] = np.linalg.inv(gram) @ x.T @ liked[:, k]
    return found


def liked_items(events: Events, n_rows: int) -> Matrix:
    """(u, i) the greatest weight with which a user liked an item in the first rows."""
    liked = np.zeros((len(events.users), len(events.items)))
    for row in range(n_rows):
        if events.positive[row]:
            at = events.user[row], events.item[row]
            liked[at] = max(liked[at], events.weight[row])
    return liked


def liked_together(events: Events, n_rows: int) -> Matrix:
    """(i, i) the products of the weights of two items, summed over users."""
    liked = liked_items(events, n_rows)
    return liked.T @ liked


def next_item_regression(events: Events, n_rows: int, limit: int, ridge: float) -> Matrix:
    """(i, i) ridge regression of the next liked item on the history, by the normal equations."""
    gram, cross = next_item_sums(events, n_rows, limit)
    return np.linalg.inv(gram + ridge * np.eye(len(gram))) @ cross


def next_item_sums(events: Events, n_rows: int, limit: int) -> tuple[Matrix, Matrix]:
    """(i, i) H'WH and H'WY of the histories, what was liked after each, and how much it counts."""
    n_items = len(events.items)
    inputs, targets, counts = [], [], []
    for row in range(n_rows):
        if not events.positive[row]:
            continue
        past = history_rows(events, int(events.user[row]), int(events.time[row]), limit)
        weights = weighted_history(events, past)
        inputs.append(weights / (1.0 + np.sqrt((weights**2).sum())))
        targets.append(np.eye(n_items)[events.item[row]])
        counts.append(events.weight[row])
    h, y, w = np.array(inputs), np.array(targets), np.diag(counts)
    return h.T @ w @ h, h.T @ w @ y


def local_regression(gram: Matrix, cross: Matrix, ridge: float, k: int) -> Matrix:
    """(i, i) weights of sources (rows) for targets (columns), one target at a time.

    The support of a target are the k sources with an entry in its column of `cross` that alone
    lower the squared error most.
    """
    found = np.zeros_like(cross)
    for target in range(len(cross)):
        candidates = np.flatnonzero(cross[:, target])
        alone = [cross[i, target] ** 2 / (gram[i, i] + ridge) for i in candidates]
        support = candidates[np.argsort(alone)[::-1][:k]]
        system = gram[np.ix_(support, support)] + ridge * np.eye(len(support))
        found[support, target] = np.linalg.inv(system) @ cross[support, target]
    return found
