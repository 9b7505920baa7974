"""The nearest of many vectors: by comparing all, or in a large catalogue those a graph finds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.graph.placed_graph import PlacedGraph

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

# Vectors from which mean and covariance are estimated, evenly from the popular to the rare.
_SAMPLE = 20_000
# Rows that are gathered at once: their copy stays in the processor's cache, else it costs double.
_GATHERED = 1_024


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


@dataclass(frozen=True)
class VectorIndex:
    """Finds vectors by cosine, and knows their `moments`. Safe for many threads.

    Attributes
    ----------
    vectors : (n, d) float32, L2-normalised
    present : (n,) bool, False where there is no vector
    n_present : how many there are
    moments : of those that are present
    placed : a graph that finds most of them, None to compare all
    """

    vectors: Vectors
    present: NDArray[np.bool_]
    n_present: int
    moments: Moments
    placed: PlacedGraph | None = None

    @classmethod
    def of(cls, vectors: Vectors, present: NDArray[np.bool_]) -> "VectorIndex":
        """The index of (n, d) vectors, of which those are there that are `present`."""
        known = np.flatnonzero(present)
        moments = Moments.of(vectors[known[:: 1 + len(known) // _SAMPLE]])
        return cls(vectors, present, len(known), moments)

    def nearest(
        self, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Rows, Vectors]:
        """At most `k` rows and their cosines to the (d,) query, nearest first.

        As many as `k` come back where there are so many, however few are allowed.

        Parameters
        ----------
        allowed : (n,) bool, rows that may come back; None for all
        """
        usable = self.present if allowed is None else self.present & allowed
        n_usable = self.n_present if allowed is None else int(usable.sum())
        k = min(k, n_usable)
        if k <= 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        found = None
        if self.placed is not None:
            found = self.placed.candidates(query, k, usable, n_usable)
        rows = np.flatnonzero(usable) if found is None else found
        cosines = self._cosines(query, rows)
        top = np.argpartition(-cosines, k - 1)[:k]
        top = top[np.argsort(-cosines[top], kind="stable")]
        return rows[top], cosines[top]

    def _cosines(self, query: Vectors, rows: Rows) -> Vectors:
        found = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), _GATHERED):
            part = slice(start, start + _GATHERED)
            found[part] = self.vectors[rows[part]] @ query
        return found
