"""What the user's own earlier events with an item say, on data where items are chosen again."""

import numpy as np
from numpy.typing import NDArray

from transformations.collaborative.histories import Floats, Histories
from transformations.collaborative.item_models import weighted_items

_DAY_S = 86_400.0
# Older or absent events count as this old.
_LONGEST_DAYS = 400.0
_MOST_INTERVALS = 4.0
OWN_SIGNALS = (
    "own_fading",
    "own_count",
    "own_week",
    "own_month",
    "own_newest",
    "own_recent",
    "own_due",
    "own_any",
)


def own_signals(histories: Histories, n_items: int) -> Floats:
    """(q, n_items, 8) numbers of the user's own events with each item, by `OWN_SIGNALS`.

    Example: bread was bought 14, 7 and 2 days ago, milk 2 days ago. The count of bread is
    log(1 + 3); it fades to e^(-14/7) + e^(-7/7) + e^(-2/7) in the week's number; it is among the
    newest, as milk is; it is bought every (14 - 2) / 2 = 6 days, so 2 / (6 + 1) of its interval
    is over.
    """
    shape = (len(histories), n_items)
    at = (histories.query, histories.item)
    days = (histories.age_s + histories.idle_s[histories.query]) / _DAY_S

    def total(weights: NDArray[np.floating]) -> Floats:
        found: Floats = histories.sums(weights, n_items).toarray()
        return found

    count = total(np.ones(len(days)))
    last = np.full(shape, _LONGEST_DAYS)
    np.minimum.at(last, at, days)
    first = np.zeros(shape)
    np.maximum.at(first, at, days)
    interval = (first - last) / np.maximum(count - 1, 1)
    due = np.where(count > 1, np.minimum(last / (interval + 1), _MOST_INTERVALS), 0)
    found = [
        weighted_items(histories, n_items).toarray(),
        np.log1p(count),
        total(np.exp(-days / 7)),
        total(np.exp(-days / 30)),
        total(histories.age_s == 0) > 0,
        -np.log1p(last),
        due,
        count > 0,
    ]
    return np.stack(found, axis=2).astype(np.float32)
