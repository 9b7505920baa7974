"""Item-to-item models: row h of a matrix says how much event h speaks for each other item.

The score of an item for a user is the sum of the rows of the user's events, weighted by how long
ago they were and whether they were liked. No user is a parameter, so an event counts at once.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from transformations.collaborative.histories import Events, Histories, Ints

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


@dataclass(frozen=True)
class ItemWeights:
    """Weights between some of the items of a catalogue; those of all others are 0.

    Attributes
    ----------
    items : (t,) codes, rising
    among : (t, t) from row to column
    """

    items: Ints
    among: Matrix

    def strongest(self, k: int, n_items: int) -> sp.csr_matrix:
        """(n_items, n_items) the k largest weights of each row by magnitude; the rest are 0."""
        kept = keep_strongest(self.among, k)
        offsets = np.zeros(n_items + 1, kept.indptr.dtype)
        offsets[self.items + 1] = np.diff(kept.indptr)
        columns = self.items[kept.indices]
        return sp.csr_matrix((kept.data, columns, np.cumsum(offsets)), (n_items, n_items))

    def dense(self, n_items: int) -> Matrix:
        """(n_items, n_items) all weights."""
        found = np.zeros((n_items, n_items), np.float32)
        found[np.ix_(self.items, self.items)] = self.among
        return found


def fit_ease(events: Events, n_rows: int) -> ItemWeights:
    """EASE of the liked items of users in the first `n_rows` events.

    Steck 2019, arXiv:1905.03375, equation 8: with P the inverse of the regularised Gram matrix,
    B[j, k] = -P[j, k] / P[k, k] and a zero diagonal. A user and an item that met several times
    have the greatest weight of their events. An item that nobody liked yet has no weight, so that
    the inverse is one of the others only.
    """
    liked = np.flatnonzero(events.positive[:n_rows])
    items, item = np.unique(events.item[liked], return_inverse=True)
    met, which = np.unique(events.user[liked] * len(items) + item, return_inverse=True)
    greatest = np.zeros(len(met), dtype=np.float32)
    np.maximum.at(greatest, which, events.weight[liked])
    if not len(items):
        return ItemWeights(items, np.zeros((0, 0), np.float32))
    shape = (len(events.users), len(items))
    chosen = sp.csr_matrix((greatest, np.divmod(met, len(items))), shape=shape)
    gram = (chosen.T @ chosen).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_EASE)
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights: Matrix = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0.0)
    return ItemWeights(items, weights)


class NextItemRegression:
    """Ridge regression of the next liked item on the weighted history, by sums that only grow.

    A linear recommender on sequences (after SLIST, Choi et al. 2021, equation 9): with H the
    normalised histories and Y the items chosen after them, M = (H'H + ridge I)^-1 H'Y. The sums
    are of the items that were seen so far; of all others they would be 0.
    """

    def __init__(self) -> None:
        self._items: Ints = np.zeros(0, np.int64)
        self._gram = np.zeros((0, 0))
        self._cross = np.zeros((0, 0))

    def add(
        self, histories: Histories, chosen: NDArray[np.int64], weights: NDArray[np.float32]
    ) -> None:
        """Take in q histories, the item liked after each, and how much each counts."""
        self._make_room(np.union1d(histories.item, chosen))
        at = np.searchsorted(self._items, histories.item)
        rows = normalised(weighted_items(replace(histories, item=at), len(self._items)))
        place = np.searchsorted(self._items, chosen)
        shape = (len(chosen), len(self._items))
        targets = sp.csr_matrix((weights, (np.arange(len(chosen)), place)), shape=shape)
        self._gram += (rows.T @ rows.multiply(weights[:, None])).toarray()
        self._cross += (rows.T @ targets).toarray()

    def solve(self) -> ItemWeights:
        """The regression of all that was taken in."""
        gram = self._gram.astype(np.float32)
        if not len(gram):
            return ItemWeights(self._items, gram)
        gram[np.diag_indices_from(gram)] += np.float32(_RIDGE_NEXT)
        factor = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        found: Matrix = scipy.linalg.cho_solve(
            factor, self._cross.astype(np.float32), overwrite_b=True, check_finite=False
        )
        return ItemWeights(self._items, found)

    def _make_room(self, items: Ints) -> None:
        known, self._items = self._items, np.union1d(self._items, items)
        if len(known) < len(self._items):
            at = np.ix_(*[np.searchsorted(self._items, known)] * 2)
            for name in ("_gram", "_cross"):
                larger = np.zeros((len(self._items), len(self._items)))
                larger[at] = getattr(self, name)
                setattr(self, name, larger)


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
