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
    n_items = len(events.items)
    liked = np.zeros((len(events.users), n_items))
    for row in range(n_rows):
        if events.positive[row]:
            liked[events.user[row], events.item[row]] = 1.0
    found = np.zeros((n_items, n_items))
    for k in range(n_items):
        others = [j for j in range(n_items) if j != k]
        x = liked[:, others]
        gram = x.T @ x + ridge * np.eye(len(others))
        found[others, k] = np.linalg.inv(gram) @ x.T @ liked[:, k]
    return found


def next_item_regression(events: Events, n_rows: int, limit: int, ridge: float) -> Matrix:
    """(i, i) ridge regression of the next liked item on the history, by the normal equations."""
    n_items = len(events.items)
    inputs, targets = [], []
    for row in range(n_rows):
        if not events.positive[row]:
            continue
        past = history_rows(events, int(events.user[row]), int(events.time[row]), limit)
        weights = weighted_history(events, past)
        inputs.append(weights / (1.0 + np.sqrt((weights**2).sum())))
        targets.append(np.eye(n_items)[events.item[row]])
    h, y = np.array(inputs), np.array(targets)
    return np.linalg.inv(h.T @ h + ridge * np.eye(n_items)) @ h.T @ y
