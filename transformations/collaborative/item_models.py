"""Item-to-item models: row h of a matrix says how much event h speaks for each other item.

The score of an item for a user is the sum of the rows of the user's events, weighted by how long
ago they were and whether they were liked. No user is a parameter, so an event counts at once.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from transformations.collaborative.histories import Events, Histories, Ints
from transformations.collaborative.local_regression import keep_strongest_sparse, solve_locally

Matrix = NDArray[np.float32]

# What an event that was not liked is worth beside one that was.
DISLIKED = 0.2
_RIDGE_EASE = 300.0
_RIDGE_NEXT = 100.0
# Interest in an event fades with the square root of its place, 0 for the newest.
_FADING = 0.5
# An inverse of as many items costs about what that many local regressions do.
_EXACT_ITEMS = 5_000
_SUPPORT = 200
# Newest liked events of a user in the local form: pairs grow with the square of a list.
_LONGEST = 500


def event_weights(histories: Histories) -> NDArray[np.float64]:
    """(k,) what each event of a history counts."""
    answer = np.where(histories.positive, 1.0, DISLIKED)
    found: NDArray[np.float64] = answer / (1.0 + histories.place) ** _FADING
    return found


def weighted_items(histories: Histories, n_items: int) -> sp.csr_matrix:
    """(q, n_items) the weights of the events of each item."""
    return histories.sums(event_weights(histories), n_items)


def fit_ease(events: Events, n_rows: int, k: int) -> sp.csr_matrix:
    """(n_items, n_items) EASE of the liked items of users in the first `n_rows` events.

    Steck 2019, arXiv:1905.03375, equation 8: with P the inverse of the regularised Gram matrix,
    B[j, k] = -P[j, k] / P[k, k] and a zero diagonal. A user and an item that met several times
    have the greatest weight of their events. An item that nobody liked yet has no weight, so that
    the inverse is one of the others only. Beyond `_EXACT_ITEMS` liked items each is regressed on
    those alone that `solve_locally` chooses, by the newest `_LONGEST` liked events of each user.

    Parameters
    ----------
    k : weights that stay of each row, the largest by magnitude
    """
    liked = np.flatnonzero(events.positive[:n_rows])
    items, item = np.unique(events.item[liked], return_inverse=True)
    if len(items) > _EXACT_ITEMS:
        newest = _newest(events.user[liked], _LONGEST)
        gram = _meetings(events, liked[newest], item[newest], len(items))
        cross = sp.csr_matrix(gram - sp.diags(gram.diagonal()))
        cross.eliminate_zeros()
        kept = keep_strongest_sparse(solve_locally(gram, cross, _RIDGE_EASE, _SUPPORT), k)
    else:
        kept = keep_strongest(_solve_ease(_meetings(events, liked, item, len(items)).toarray()), k)
    return _among_all(kept, items, len(events.items))


class NextItemRegression:
    """Ridge regression of the next liked item on the weighted history, by sums that only grow.

    A linear recommender on sequences (after SLIST, Choi et al. 2021, equation 9): with H the
    normalised histories and Y the items chosen after them, M = (H'H + ridge I)^-1 H'Y. An item
    that was not seen so far has no weight. Beyond `_EXACT_ITEMS` seen items each is regressed on
    those alone that `solve_locally` chooses.
    """

    def __init__(self, n_items: int) -> None:
        self._n_items = n_items
        self._seen: Ints = np.zeros(0, np.int64)
        self._gram = self._cross = sp.csr_matrix((n_items, n_items))

    def add(
        self, histories: Histories, chosen: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> None:
        """Take in q histories, the item liked after each, and how much each counts."""
        n_items = self._n_items
        self._seen = np.union1d(self._seen, np.union1d(histories.item, chosen))
        rows = normalised(weighted_items(histories, n_items))
        offsets = np.arange(len(chosen) + 1)
        targets = sp.csr_matrix((weights, chosen, offsets), shape=(len(chosen), n_items))
        self._gram = self._gram + rows.T @ rows.multiply(weights[:, None])
        self._cross = self._cross + rows.T @ targets

    def solve(self, k: int) -> sp.csr_matrix:
        """(n_items, n_items) the regression of all that was taken in.

        Parameters
        ----------
        k : weights that stay of each row, the largest by magnitude
        """
        items, sums = self._seen, (self._gram, self._cross)
        gram, cross = (each[items][:, items].astype(np.float32) for each in sums)
        if len(items) > _EXACT_ITEMS:
            kept = keep_strongest_sparse(solve_locally(gram, cross, _RIDGE_NEXT, _SUPPORT), k)
        else:
            kept = keep_strongest(_solve_next(gram.toarray(), cross.toarray()), k)
        return _among_all(kept, items, self._n_items)


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


def _meetings(events: Events, rows: Ints, item: Ints, n_items: int) -> sp.csr_matrix:
    """(n_items, n_items) float32 products of the weights of two items, summed over users.

    Parameters
    ----------
    item : codes of the items of the rows, less than `n_items`
    """
    met, which = np.unique(events.user[rows] * n_items + item, return_inverse=True)
    greatest = np.zeros(len(met), dtype=np.float32)
    np.maximum.at(greatest, which, events.weight[rows])
    shape = (len(events.users), n_items)
    chosen = sp.csr_matrix((greatest, np.divmod(met, n_items)), shape=shape)
    return sp.csr_matrix(chosen.T @ chosen)


def _solve_ease(gram: Matrix) -> Matrix:
    if not len(gram):
        return gram
    gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_EASE)
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights: Matrix = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return weights


def _solve_next(gram: Matrix, cross: Matrix) -> Matrix:
    if not len(gram):
        return gram
    gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_NEXT)
    factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    found: Matrix = scipy.linalg.cho_solve(factor, cross, overwrite_b=True, check_finite=False)
    return found


def _newest(user: Ints, limit: int) -> Ints:
    """Rows, ascending, of the last `limit` of each user."""
    order = np.argsort(user, kind="stable")
    ends = np.searchsorted(user[order], user[order], side="right")
    return np.sort(order[ends - np.arange(len(user)) <= limit])


def _among_all(weights: sp.csr_matrix, items: Ints, n_items: int) -> sp.csr_matrix:
    """(n_items, n_items) weights between the given items, whose codes rise; of all others none."""
    offsets = np.zeros(n_items + 1, weights.indptr.dtype)
    offsets[items + 1] = np.diff(weights.indptr)
    columns = items[weights.indices]
    return sp.csr_matrix((weights.data, columns, np.cumsum(offsets)), (n_items, n_items))
