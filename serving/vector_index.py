"""The nearest of many vectors: exactly in a small catalogue, by inverted lists in a large one.

Measured on one core at 100,000 x 384, 512 lists: 0.7 ms instead of 5 for a query, built in 2 s,
recall@100 against exact 0.98 (`tests/serving/test_candidates.py` holds it above 0.9).
"""

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from feast_fusion.inverted_lists import build_lists

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

# An exact scan of this many vectors costs about as much as the rest of a candidate search.
EXACT_LIMIT = 20_000
# Vectors from which mean and covariance are estimated, evenly from the popular to the rare.
_SAMPLE = 20_000


@dataclass(frozen=True)
class Moments:
    """(d,) mean and (d, d) covariance of many vectors."""

    mean: Vectors
    covariance: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> "Moments":
        """The moments of (m, d) vectors; zeros of none."""
        n = max(1, len(vectors))
        mean = vectors.sum(axis=0, dtype=np.float64) / n
        covariance = (vectors.T @ vectors).astype(np.float64) / n - np.outer(mean, mean)
        return cls(mean.astype(np.float32), covariance.astype(np.float32))

    def standardise(self, query: Vectors, products: NDArray[np.floating]) -> Vectors:
        """(k,) by how many standard deviations inner products with a (d,) query exceed the mean.

        Products are only comparable after that: one encoder's cosines are all high, another's all
        low, and some queries are near to every vector. Which vectors are asked about does not
        change the answer for each of them.
        """
        spread = max(0.0, float(query @ self.covariance @ query)) ** 0.5
        if spread < 1e-6:
            return np.zeros(len(products), dtype=np.float32)
        deviations: Vectors = ((products - self.mean @ query) / spread).astype(np.float32)
        return deviations


class VectorIndex:
    """Finds vectors by cosine, and knows their `moments`. Never changes; safe for many threads.

    Parameters
    ----------
    vectors : (n, d) float32, L2-normalised
    present : (n,) bool, False where there is no vector
    exact_limit : how many vectors are still searched exactly
    """

    def __init__(
        self, vectors: Vectors, present: NDArray[np.bool_], *, exact_limit: int = EXACT_LIMIT
    ) -> None:
        self.vectors = vectors
        self.present = present
        self._lists: faiss.Index | None = None
        known = np.flatnonzero(present)
        self.moments = Moments.of(vectors[known[:: 1 + len(known) // _SAMPLE]])
        if len(known) > exact_limit:
            matrix = vectors if len(known) == len(vectors) else vectors[known]
            self._lists = build_lists(matrix, known)

    def nearest(self, query: Vectors, k: int) -> tuple[Rows, Vectors]:
        """At most `k` rows and their cosines to the (d,) query, nearest first."""
        if k <= 0 or not self.present.any():
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self._lists is None:
            return self._scan(query, k)
        cosines, rows = self._lists.search(query[None], k)
        found = rows[0] >= 0
        return rows[0][found], cosines[0][found]

    def _scan(self, query: Vectors, k: int) -> tuple[Rows, Vectors]:
        cosines = np.where(self.present, self.vectors @ query, -np.inf)  # (n,)
        top = np.argpartition(-cosines, min(k, len(cosines) - 1))[:k]
        ordered = top[np.argsort(-cosines[top], kind="stable")]
        ordered = ordered[self.present[ordered]]
        return ordered, cosines[ordered].astype(np.float32)
