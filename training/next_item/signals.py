"""Signals: how much each model that was fitted before an instant speaks for an item."""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from transformations.collaborative.histories import Flags, Floats, Histories
from transformations.collaborative.item_models import event_weights
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
# What they say is said of everybody; the others speak of what the user did.
_OF_ANYBODY = frozenset({"popular", "popular_long", "popular_short", "liked_rate"})
# Of a positive event of anybody: among items of which a model says nothing, the popular come first.
_TIE = 1e-6


def score_signals(version: ItemVersion, histories: Histories, texts: Floats) -> Floats:
    """(q, f, i) one number per signal of `SIGNALS`, in its order; not standardised.

    Parameters
    ----------
    texts : (i, p) text vectors of length 1, zeros where an item has none
    """
    n, weights = len(histories), event_weights(histories)
    disliked, newest = weights * ~histories.positive, weights * (histories.age_s == 0)
    together = _products(histories, [weights, disliked], version.together)  # (2, q, i)
    following = _products(histories, [weights, newest], version.following)
    likes = np.expm1(version.popularity[0]) * np.float32(_TIE)
    shape = (n, len(likes))
    taste = histories.sums(weights, shape[1]) @ texts  # (q, p); its length is of no account
    found = [
        together[0] + likes,
        following[0] + likes,
        together[1] + likes,
        following[1] + likes,
        *(np.broadcast_to(each, shape) for each in (*version.popularity, version.liked_rate)),
        taste @ texts.T,
    ]
    return np.stack(found, axis=1).astype(np.float32, copy=False)


def speaking_signals(names: Sequence[str], history: Histories, *, has_negatives: bool) -> Flags:
    """(f,) whether a signal says something of the one user of a history.

    Of a user without events, and of dislikes where there are none, a signal has the order of
    popularity, or one number for all items: it must not be named as a reason.

    Parameters
    ----------
    names : of the f signals
    has_negatives : whether the data set has events that are not positive
    """
    silent = set() if has_negatives else {"liked_rate"}
    if history.positive.all():
        silent.add("disliked")
    if not len(history.item):
        silent.update(name for name in names if name not in _OF_ANYBODY)
    return np.array([name not in silent for name in names])


def _products(
    histories: Histories, weights: list[NDArray[np.float64]], matrix: sp.csr_matrix
) -> Floats:
    """(w, q, i) the rows of a matrix summed over the events of each history, by each weight."""
    n, n_items = len(histories), matrix.shape[0]
    offsets = [histories.offsets[:-1] + at * len(histories.item) for at in range(len(weights))]
    stacked = sp.csr_matrix(
        (
            np.concatenate(weights).astype(np.float32),
            np.tile(histories.item, len(weights)),
            np.append(np.concatenate(offsets), len(weights) * len(histories.item)),
        ),
        shape=(n * len(weights), n_items),
    )
    products: Floats = (stacked @ matrix).toarray().reshape(len(weights), n, n_items)
    return products


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
