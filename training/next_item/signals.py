"""Signals: how much each model that was fitted before an instant speaks for an item."""

import numpy as np

from transformations.collaborative.histories import Flags, Floats, Histories
from transformations.collaborative.item_models import event_weights, normalised
from transformations.collaborative.versions import ItemVersion

SIGNALS = (
    "together",
    "following",
    "disliked",
    "visit",
    "popular",
    "popular_long",
    "popular_short",
    "liked_rate",
    "text",
)
SEQUENCE = "sequence"
# Standardised scores are cut there: one item must not shrink the rest of a slate to nothing.
LIMIT = 12.0


def score_signals(version: ItemVersion, histories: Histories, vectors: Floats) -> Floats:
    """(q, f, i) one number per signal of `SIGNALS`, in its order; not standardised.

    Parameters
    ----------
    vectors : (i, d) L2-normalised, zeros where an item has none
    """
    n_items = version.together.shape[0]
    weights = event_weights(histories)
    items = histories.sums(weights, n_items)
    disliked = histories.sums(weights * ~histories.positive, n_items)
    visit = histories.sums(weights * (histories.age_s == 0), n_items)
    total = np.asarray(items.sum(axis=1)).clip(1e-9)
    shared = [*version.popularity, version.liked_rate]
    found = [
        (items @ version.together).toarray(),
        (normalised(items) @ version.following).toarray(),
        (disliked @ version.together).toarray(),
        (visit @ version.following).toarray(),
        *(np.broadcast_to(each, (len(histories), n_items)) for each in shared),
        ((items @ vectors) / total) @ vectors.T,
    ]
    return np.stack(found, axis=1).astype(np.float32)


def standardise(scores: Floats, allowed: Flags) -> Floats:
    """(q, f, i) scores over the spread among the allowed items of each query, 0 elsewhere.

    What one user's history says loudly another's says softly: only the comparison with the other
    items of the same request can be learnt from.

    Parameters
    ----------
    allowed : (q, i) bool
    """
    mask = allowed[:, None, :]
    n = np.maximum(allowed.sum(axis=1), 1)[:, None, None].astype(np.float32)
    found = np.where(mask, scores, np.float32(0.0))
    found -= found.sum(axis=2, keepdims=True) / n
    found *= mask
    spread = np.sqrt(np.einsum("qfi,qfi->qf", found, found)[:, :, None] / n)
    found /= np.maximum(spread, np.float32(1e-6))
    return np.clip(found, -LIMIT, LIMIT, out=found)


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
