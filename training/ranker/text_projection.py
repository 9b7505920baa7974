"""A projection of text vectors to the few directions in which the items differ most."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class TextProjection:
    """Principal components of item vectors, without what all items share.

    Attributes
    ----------
    mean : (d,) float32
    components : (d, p) float32, orthonormal columns, the strongest first
    spread : standard deviation of the inner product of two projected items
    """

    mean: Floats
    components: Floats
    spread: float

    @classmethod
    def fit(cls, vectors: Floats, width: int) -> "TextProjection":
        """The projection of the (m, d) distinct item vectors to at most `width` directions."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean.astype(np.float32)
        _, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        components = directions[:, ::-1][:, : min(width, vectors.shape[1])]
        projection = cls(mean.astype(np.float32), components.astype(np.float32).copy(), 1.0)
        projected = projection.project(vectors)
        # Neighbours in a shuffled order are a sample of pairs.
        order = np.random.default_rng(0).permutation(len(projected))
        products = (projected[order] * projected[np.roll(order, 1)]).sum(axis=1)
        return replace(projection, spread=max(float(products.std()), 1e-3))

    @property
    def width(self) -> int:
        """p, the number of directions."""
        return int(self.components.shape[1])

    def project(self, vectors: Floats) -> Floats:
        """(m, p) unit vectors; a vector equal to the mean becomes zero."""
        projected = (vectors - self.mean) @ self.components
        norm = np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(projected / np.maximum(norm, 1e-6), dtype=np.float32)
