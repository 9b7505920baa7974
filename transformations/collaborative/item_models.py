"""Item-to-item models: row h of a matrix says how much event h speaks for each other item.

The score of an item for a user is the sum of the rows of the user's events, weighted by how long
ago they were and whether they were liked. No user is a parameter, so an event counts at once.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from transformations.collaborative.histories import Events, Histories

Matrix = NDArray[np.float32]

# What an event that was not liked is worth beside one that was.
DISLIKED = 0.2
_RIDGE_EASE = 300.0
_RIDGE_NEXT = 100.0
# Interest in an event fades with the square root of its place, 0 for the newest.
_FADING = 0.5


def event_weights(histories: Histories) -> NDArray[np.float64]:
    """(k,) what each event of a history counts."""
    answer = np.where(histories.positive, 1.0, DISLIKED)
    found: NDArray[np.float64] = answer / (1.0 + histories.place) ** _FADING
    return found


def weighted_items(histories: Histories, n_items: int) -> sp.csr_matrix:
    """(q, n_items) the weights of the events of each item."""
    return histories.sums(event_weights(histories), n_items)


def fit_ease(events: Events, n_rows: int) -> Matrix:
    """(i, i) EASE of the liked items of users in the first `n_rows` events.

    Steck 2019, arXiv:1905.03375, equation 8: with P the inverse of the regularised Gram matrix,
    B[j, k] = -P[j, k] / P[k, k] and a zero diagonal. A user and an item that met several times
    have the greatest weight of their events.
    """
    liked = np.flatnonzero(events.positive[:n_rows])
    pairs = events.user[liked] * len(events.items) + events.item[liked]
    met, which = np.unique(pairs, return_inverse=True)
    greatest = np.zeros(len(met), dtype=np.float32)
    np.maximum.at(greatest, which, events.weight[liked])
    shape = (len(events.users), len(events.items))
    chosen = sp.csr_matrix((greatest, np.divmod(met, len(events.items))), shape=shape)
    gram = (chosen.T @ chosen).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_EASE)
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights: Matrix = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights


class NextItemRegression:
    """Ridge regression of the next liked item on the weighted history, by sums that only grow.

    A linear recommender on sequences (after SLIST, Choi et al. 2021, equation 9): with H the
    normalised histories and Y the items chosen after them, M = (H'H + ridge I)^-1 H'Y.
    """

    def __init__(self, n_items: int) -> None:
        self._gram = np.zeros((n_items, n_items))
        self._cross = np.zeros((n_items, n_items))

    def add(
        self, histories: Histories, chosen: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> None:
        """Take in q histories, the item liked after each, and how much each counts."""
        n_items = len(self._gram)
        rows = normalised(weighted_items(histories, n_items))
        shape = (len(chosen), n_items)
        targets = sp.csr_matrix((weights, (np.arange(len(chosen)), chosen)), shape=shape)
        self._gram += (rows.T @ rows.multiply(weights[:, None])).toarray()
        self._cross += (rows.T @ targets).toarray()

    def solve(self) -> Matrix:
        """(i, i) the regression of all that was taken in."""
        gram = self._gram.astype(np.float32)
        gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_NEXT)
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        found: Matrix = scipy.linalg.cho_solve(
            factor, self._cross.astype(np.float32), overwrite_b=True, check_finite=False
        )
        return found


def normalised(rows: sp.csr_matrix) -> sp.csr_matrix:
    """The rows over 1 + their length, so that long histories do not outweigh short ones."""
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1.0 / (1.0 + lengths)) @ rows)


def keep_strongest(matrix: Matrix, k: int) -> sp.csr_matrix:
    """The k largest weights of each row by magnitude; the rest count as 0."""
    if k >= matrix.shape[1]:
        return sp.csr_matrix(matrix)
    weak = np.argpartition(-np.abs(matrix), k, axis=1)[:, k:]
    kept = matrix.copy()
    np.put_along_axis(kept, weak, 0.0, axis=1)
    return sp.csr_matrix(kept)
