"""Categories in an answer in about the proportions of what its user liked."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from serving.variety.unlike_texts import Gains

# Of the answer's proportions, so much are the user's: a category that the answer lacks costs a
# finite amount (Steck 2018, equation 7).
_SMOOTHING = 0.01

Proportions = NDArray[np.float64]


class KeptProportions:
    """Calibrated recommendations (Steck 2018): the divergence of an answer from its user, greedily.

    An item of several categories counts for each by its part.

    Parameters
    ----------
    wanted : (c,) proportions of the categories of what the user liked, see `proportions_of`
    membership : (m, c) the categories of m items
    """

    def __init__(self, wanted: Proportions, membership: sp.csr_matrix) -> None:
        self._wanted, self._parts = wanted, parts_of(membership)
        self._sum, self._n = np.zeros(len(wanted)), 0

    def gains(self) -> Gains:
        """(m,) minus the divergence of the answer with each item, times its length."""
        sums = self._sum + self._parts
        return -(self._n + 1) * divergences(self._wanted, sums)

    def take(self, at: int) -> None:
        """One more item of the answer."""
        self._sum = self._sum + self._parts[at]
        self._n += 1


def parts_of(membership: sp.csr_matrix) -> Proportions:
    """(m, c) the part of each category in each item; zeros for an item without any."""
    dense = membership.toarray().astype(np.float64)
    parts: Proportions = dense / np.maximum(dense.sum(axis=1, keepdims=True), 1)
    return parts


def proportions_of(membership: sp.csr_matrix) -> Proportions | None:
    """(c,) proportions of the categories of some items, None where no item has any."""
    total = parts_of(membership).sum(axis=0)
    return total / total.sum() if total.any() else None


def divergences(wanted: Proportions, sums: Proportions) -> NDArray[np.float64]:
    """(m,) Kullback-Leibler divergence of each row of (m, c) sums, as proportions, from `wanted`.

    >>> wanted = np.array([0.5, 0.5])
    >>> divergences(wanted, np.array([[1.0, 1.0], [2.0, 0.0]])).round(2).tolist()
    [0.0, 1.96]
    """
    total = sums.sum(axis=1, keepdims=True)
    given = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    mixed = (1 - _SMOOTHING) * given + _SMOOTHING * wanted
    asked = wanted > 0
    found: NDArray[np.float64] = (wanted[asked] * np.log(wanted[asked] / mixed[:, asked])).sum(
        axis=1
    )
    return found
