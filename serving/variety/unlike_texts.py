"""Items whose texts differ from those that are in an answer already."""

import numpy as np
from numpy.typing import NDArray

from serving.vector_index import Vectors

Gains = NDArray[np.float64]

# A text that the others say entirely has a logarithm too.
_LEAST = 1e-3


class UnlikeTexts:
    """The determinantal point process of m text vectors, its mode found greedily.

    What an item adds to an answer is the logarithm of the squared distance of its vector from the
    space that the vectors of the answer span: the growth of the logarithm of the determinant of
    their cosines (Chen, Zhang and Zhou 2018, "Fast greedy MAP inference for determinantal point
    process", algorithm 1).

    Parameters
    ----------
    vectors : (m, d) of length 1, zeros where an item has none: such an item is as the average one
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self._has_text = np.asarray(vectors.any(axis=1))
        self._left = np.ones(len(vectors))  # the squared distances
        self._spanned = np.zeros((len(vectors), 0))  # (m, k) coordinates in the spanned space

    def gains(self) -> Gains:
        """(m,) what each item would add, at most 0."""
        left = np.where(self._has_text, self._left, self._usual)
        return np.log(np.maximum(left, _LEAST))

    def take(self, at: int) -> None:
        """One more item of the answer."""
        if not self._has_text[at] or self._left[at] < _LEAST:
            return
        cosines = self._vectors @ self._vectors[at]  # (m,)
        along = (cosines - self._spanned @ self._spanned[at]) / np.sqrt(self._left[at])
        self._spanned = np.column_stack([self._spanned, along])
        self._left = self._left - along**2

    @property
    def _usual(self) -> float:
        known = self._left[self._has_text]
        return float(known.mean()) if len(known) else 1.0
