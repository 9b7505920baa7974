"""Distances between vectors, as Feast names them: smaller is nearer."""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from feast_fusion.online.refusals import RefusedRequestError

Vectors = NDArray[np.float32]

TINY = np.finfo(np.float32).tiny


class Metric(Enum):
    """What is small where two vectors are alike."""

    L2 = "L2"
    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"

    @classmethod
    def named(cls, name: str | None) -> "Metric":
        """The metric that a field or a caller calls so; none is L2.

        Raises
        ------
        RefusedRequestError
            The name is of no metric that there is here.
        """
        known = {"l2": cls.L2, "euclidean": cls.L2, "cosine": cls.COSINE}
        known |= dict.fromkeys(("inner_product", "ip", "dot"), cls.INNER_PRODUCT)
        found = known.get((name or "L2").lower())
        if found is None:
            raise RefusedRequestError(
                f"distance_metric: got {name!r}, expected one of {sorted(known)}. "
                "Pass one of these, or declare it as vector_search_metric of the field."
            )
        return found


@dataclass(frozen=True)
class Query:
    """A vector to be near to: (d,) float32."""

    vector: Vectors
    metric: Metric

    def distances(self, vectors: Vectors) -> Vectors:
        """(n,) distances of (n, d) vectors: Euclidean, 1 - cosine, or - inner product."""
        if self.metric is Metric.L2:
            return _lengths(vectors - self.vector)
        products: Vectors = vectors @ self.vector
        if self.metric is Metric.INNER_PRODUCT:
            return -products
        lengths = _lengths(vectors) * _lengths(self.vector[None])
        distances: Vectors = 1 - products / np.maximum(lengths, TINY)
        return distances

    def order(self, vectors: Vectors, squares: Vectors) -> Vectors:
        """(n,) numbers in the order of the distances, by one product with the whole matrix.

        Parameters
        ----------
        squares : (n,) squared length of each vector
        """
        products: Vectors = vectors @ self.vector
        if self.metric is Metric.L2:
            return squares - 2 * products
        if self.metric is Metric.INNER_PRODUCT:
            return -products
        lengths: Vectors = np.sqrt(np.maximum(squares, TINY))
        return -products / lengths


def _lengths(vectors: Vectors) -> Vectors:
    lengths: Vectors = np.linalg.norm(vectors, axis=1).astype(np.float32, copy=False)
    return lengths
