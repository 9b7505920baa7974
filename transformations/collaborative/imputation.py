"""Scores of items that nobody chose yet, from the scores of items like them.

An item-item model says nothing of an item without liked events. A ridge regression over the other
items of a request, from what is known of an item (text, categories) to its score, says what an item
of its kind would score. It is linear in the scores, so one matrix serves all requests.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transformations.collaborative.histories import Floats

_RIDGE = 10.0
# The intercept is free.
_RIDGE_OF_ONE = 1e-6


@dataclass(frozen=True)
class Imputation:
    """Replaces the scores of the items that were never liked.

    Attributes
    ----------
    described : (s + 1, n) what is known of the n new items, and a 1
    regression : (i - n, s + 1) from the scores of the other items to the weights of what is known
    is_new : (i,) bool
    """

    described: Floats
    regression: Floats
    is_new: NDArray[np.bool_]

    @classmethod
    def fit(
        cls, side: Floats, n_liked: NDArray[np.floating], ridge: float = _RIDGE
    ) -> "Imputation":
        """The imputation by (i, s) numbers of items; an item weighs the log of its (i,) likes."""
        described = np.concatenate([side, np.ones((len(side), 1), side.dtype)], axis=1)
        weighted = described.astype(np.float64) * np.log1p(n_liked)[:, None]
        penalty = np.diag(np.append(np.full(side.shape[1], ridge), _RIDGE_OF_ONE))
        regression = np.linalg.solve(weighted.T @ described + penalty, weighted.T)
        is_new = n_liked == 0
        # Laid out as a request goes through them: both are as long as the catalogue.
        of_new = np.ascontiguousarray(described[is_new].T, dtype=np.float32)
        of_others = np.ascontiguousarray(regression[:, ~is_new].T, dtype=np.float32)
        return cls(of_new, of_others, is_new)

    def __call__(self, scores: Floats) -> Floats:
        """(..., i) the scores, those of new items imputed."""
        if not self.described.shape[1]:
            return scores
        found = scores.copy()
        weights = scores[..., ~self.is_new] @ self.regression  # (..., s + 1)
        found[..., self.is_new] = weights @ self.described
        return found
