"""A user's taste by a version of item factors, from the recent events, and what it expects.

Serving asks for one user and the items of a slate, training for many users, an item of each: the
same arithmetic per user and item, so that both get the same bits.
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from transformations.collaborative.histories import Histories, Ints
from transformations.collaborative.item_factors import (
    KINDS,
    N_FACTORS,
    PRIOR_EVENTS,
    FactorVersion,
    Numbers,
    solve_ridge,
)

# Under a ridge of one, a column of this is a bias that PRIOR_EVENTS draw to zero.
_BIAS_SCALE = PRIOR_EVENTS**-0.5
_OF_A_KIND = ("mean", "bias", "taste", "total")
EXPECTED = tuple(f"{kind}_{what}" for kind in KINDS for what in _OF_A_KIND)


@dataclass(frozen=True)
class Tastes:
    """q users as a version of item factors sees them.

    Attributes
    ----------
    bias : (K, q) how much higher than others they answer; 0 without an answer of the kind
    factors : (K, q, r)
    """

    version: FactorVersion
    bias: Numbers
    factors: Numbers

    @classmethod
    def of(cls, version: FactorVersion, histories: Histories) -> "Tastes":
        """The users of q histories, folded in."""
        answers = (histories.value, histories.positive)
        solved = [_fold_in(version, kind, histories, of) for kind, of in enumerate(answers)]
        found = np.stack(solved)  # (K, q, 1 + r)
        return cls(version, found[:, :, 0] * _BIAS_SCALE, found[:, :, 1:])

    def expect(self, user: Ints, item: Ints) -> dict[str, Numbers]:
        """(n,) by name (`EXPECTED`) for n pairs of a user (place) and an item (code, -1: unknown).

        Of each kind: "mean" of the item, "bias" of the user, "taste" of the user for the item, and
        their sum, the "total" that is expected. All but the bias are NaN where the item is unknown.
        """
        found: dict[str, Numbers] = {}
        for kind, name in enumerate(KINDS):
            means = self.version.means[kind, item].astype(np.float64)
            means[item < 0] = np.nan
            bias = self.bias[kind, user]
            factors = self.version.factors[kind, item].astype(np.float64)
            taste = (self.factors[kind, user] * factors).sum(axis=1)
            taste[np.isnan(means)] = np.nan
            numbers = (means, bias, taste, means + bias + taste)
            found |= {f"{name}_{what}": of for what, of in zip(_OF_A_KIND, numbers, strict=True)}
        return found


def _fold_in(
    version: FactorVersion, kind: int, histories: Histories, answers: np.ndarray
) -> Numbers:
    """(q, 1 + r) bias and factors of the users; what an item's mean does not explain is theirs."""
    residual = answers - version.means[kind, histories.item].astype(np.float64)
    known = np.isfinite(residual)
    items, place = np.unique(histories.item[known], return_inverse=True)  # few of a catalogue
    lengths = np.bincount(histories.query[known], minlength=len(histories))
    offsets, shape = np.append(0, np.cumsum(lengths)), (len(histories), len(items))
    counts = sp.csr_matrix((np.ones(len(place)), place, offsets), shape=shape)
    sums = sp.csr_matrix((residual[known], place, offsets), shape=shape)
    columns = np.empty((len(items), 1 + N_FACTORS))
    columns[:, 0], columns[:, 1:] = _BIAS_SCALE, version.factors[kind, items]
    return solve_ridge(counts, sums, columns)
