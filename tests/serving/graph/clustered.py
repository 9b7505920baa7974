"""Vectors that lie near each other in groups, as those of texts do, and what they are called."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.graph.keyed_vectors import KeyedVectors

N, WIDTH = 21_000, 16  # more than are compared one by one


def clustered(n: int = N, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(size=(60, WIDTH))
    vectors = centres[rng.integers(0, 60, n)] + 0.6 * rng.normal(size=(n, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def ids_of(vectors: NDArray[np.float32]) -> list[str]:
    return [f"i{row}" for row in range(len(vectors))]


def keyed(vectors: NDArray[np.float32], item_ids: Sequence[str] | None = None) -> KeyedVectors:
    present = np.ones(len(vectors), dtype=bool)
    return KeyedVectors.of(item_ids or ids_of(vectors), vectors, present)
