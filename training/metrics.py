"""How well scores order labels, and whether they are probabilities.

NaN where a measure is not defined, never a made-up number.

`users`, `labels` and `scores` are (n,); a label above 0 is a positive. Among equal scores of one
user each order is equally likely. Gain and recall are the mean over these orders; the reciprocal
rank, whose mean has no closed form, counts the worst place.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from transformations.id_map import IdMap

Numbers = NDArray[np.floating] | NDArray[np.integer]
Users = NDArray[np.generic]


def auc(labels: Numbers, scores: Numbers) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN for one class."""
    positive = np.asarray(labels) > 0
    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, scores))


def log_loss(labels: Numbers, scores: Numbers) -> float:
    """Mean of -log of the probability that was given to what came true; NaN without rows."""
    positive = np.asarray(labels) > 0
    given = np.where(positive, scores, 1 - np.asarray(scores, dtype=np.float64))
    return _mean(-np.log(np.clip(given, np.finfo(np.float64).tiny, 1.0)))


def ece(labels: Numbers, scores: Numbers, bins: int = 15) -> float:
    """Expected calibration error: how far probabilities are from the rate that came true.

    The mean over rows of |mean score - rate of positives| of the row's bin, of `bins` equally wide
    ones over [0, 1] (Guo et al. 2017, arXiv:1706.04599, equation 5); NaN without rows.
    """
    given = np.asarray(scores, dtype=np.float64)
    if not len(given):
        return float("nan")
    at = np.minimum((given * bins).astype(np.int64), bins - 1)
    apart = np.bincount(at, given - (np.asarray(labels) > 0), minlength=bins)
    return float(np.abs(apart).sum() / len(given))


def gauc(users: Users, labels: Numbers, scores: Numbers) -> float:
    """AUC within each user, weighted by rows; users of one class are left out."""
    ranked = _Ranked(users, labels, scores)
    n, positives = ranked.n, ranked.sum(ranked.gain)
    # Mann-Whitney: the rank sum of the positives, where equal scores share their mean rank.
    ascending = n[ranked.user] - (ranked.first + ranked.last) / 2
    won = ranked.sum(ascending * ranked.gain) - positives * (positives + 1) / 2
    mixed = (positives > 0) & (positives < n)
    pairs = positives * (n - positives)
    return _mean(won[mixed] / pairs[mixed], weights=n[mixed])


def ndcg_at_k(users: Users, labels: Numbers, scores: Numbers, k: int = 10) -> float:
    """Normalised discounted cumulative gain of each user's best k, binary gain, mean of users.

    Discount 1 / log2(rank + 1) (Järvelin and Kekäläinen 2002); users without a positive are left
    out.
    """
    ranked = _Ranked(users, labels, scores)
    discounts = np.zeros(len(ranked.user) + 1)
    top = min(k, len(ranked.user))
    discounts[1 : top + 1] = 1 / np.log2(np.arange(2, top + 2))
    up_to = np.cumsum(discounts)
    tied = (up_to[ranked.last + 1] - up_to[ranked.first]) / (ranked.last + 1 - ranked.first)
    positives = ranked.sum(ranked.gain)
    found = positives > 0
    ideal = up_to[positives[found].astype(np.int64)]
    return _mean(ranked.sum(tied * ranked.gain)[found] / ideal)


def recall_at_k(users: Users, labels: Numbers, scores: Numbers, k: int = 10) -> float:
    """Share of each user's positives among their best k, mean of users that have a positive."""
    ranked = _Ranked(users, labels, scores)
    places = np.clip(k - ranked.first, 0, ranked.last + 1 - ranked.first)
    inside = places / (ranked.last + 1 - ranked.first)
    positives = ranked.sum(ranked.gain)
    found = positives > 0
    return _mean(ranked.sum(inside * ranked.gain)[found] / positives[found])


def mrr(users: Users, labels: Numbers, scores: Numbers) -> float:
    """Mean of 1 / rank of each user's first positive, at worst among equal scores.

    Users without a positive are left out.
    """
    ranked = _Ranked(users, labels, scores)
    hit = ranked.gain > 0
    best = np.zeros(len(ranked.n))
    worst = ranked.last - ranked.tied_gain + 2  # the other positives of the tie come after it
    np.maximum.at(best, ranked.user[hit], 1 / worst[hit])
    return _mean(best[best > 0])


def evaluate_scores(table: pa.Table, scores: Numbers) -> dict[str, float]:
    """The metrics of one model on rows with user_id and label, by name."""
    users = IdMap.of(table["user_id"]).codes(table["user_id"])
    labels = table["label"].to_numpy()
    return {
        "auc": auc(labels, scores),
        "gauc": gauc(users, labels, scores),
        "ndcg@10": ndcg_at_k(users, labels, scores, 10),
        "recall@10": recall_at_k(users, labels, scores, 10),
        "mrr": mrr(users, labels, scores),
        "log_loss": log_loss(labels, scores),
        "ece": ece(labels, scores),
    }


class _Ranked:
    """Rows ordered by user, then best score first, with the places that equal scores share.

    Attributes
    ----------
    user : (n,) number of the row's user
    gain : (n,) 1.0 for a positive
    first, last : (n,) places, from 0 within the user, of the rows that score the same
    tied_gain : (n,) positives among the rows that score the same
    n : (u,) rows of each user
    """

    def __init__(self, users: Users, labels: Numbers, scores: Numbers) -> None:
        _, numbered = np.unique(users, return_inverse=True)
        order = np.lexsort((-np.asarray(scores), numbered))
        self.user = numbered[order]
        self.gain = (np.asarray(labels)[order] > 0).astype(np.float64)
        self.n = np.bincount(self.user)
        start = np.cumsum(self.n) - self.n
        ranked = np.asarray(scores)[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (self.user[1:] != self.user[:-1]) | (ranked[1:] != ranked[:-1])
        group = np.cumsum(new) - 1
        first = np.flatnonzero(new)
        last = np.append(first[1:], len(order)) - 1
        self.first = first[group] - start[self.user]
        self.last = last[group] - start[self.user]
        self.tied_gain = np.bincount(group, self.gain, minlength=len(first))[group]

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(u,) sum of the values per user."""
        return np.bincount(self.user, values, minlength=len(self.n)).astype(np.float64)


def _mean(values: NDArray[np.float64], weights: NDArray[np.integer] | None = None) -> float:
    return float(np.average(values, weights=weights)) if len(values) else float("nan")
