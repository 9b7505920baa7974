"""Matrices of float32 vectors as serialized Feast values of half the size."""

import numpy as np
from numpy.typing import NDArray

from feast_fusion.online.codec.value_decoding import vector_heads
from feast_fusion.online.codec.value_encoding import row_bytes

MIN_COSINE = 0.9999  # of a float16 vector to its float32 original


def encode_half_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """The `Value` of each vector of an (n, d) matrix, d > 0, as float16 where that carries it.

    A row is `bytes_val` of d little-endian float16. One that float16 cannot carry (a number
    overflows, or the cosine to the row would fall below `MIN_COSINE`) is in the stock form,
    `float_list_val`; the first byte tells a reader which it is.
    """
    rows = vectors.astype("<f4", copy=False)
    with np.errstate(over="ignore"):
        halves = rows.astype("<f2")
    head, half_head = vector_heads(rows.shape[1])
    return [
        half_head + half if carried else head + row
        for row, half, carried in zip(
            row_bytes(rows), row_bytes(halves), _carried(rows, halves).tolist(), strict=True
        )
    ]


def _carried(rows: NDArray[np.float32], halves: NDArray[np.float16]) -> NDArray[np.bool_]:
    """Which rows float16 carries. In float64, where no square of a float32 overflows."""
    exact, rounded = rows.astype(np.float64), halves.astype(np.float64)
    finite = np.isfinite(rounded).all(axis=1)
    rounded[~finite] = 0.0
    dots = np.einsum("ij,ij->i", exact, rounded)
    squares = np.einsum("ij,ij->i", exact, exact) * np.einsum("ij,ij->i", rounded, rounded)
    zero = ~exact.any(axis=1)
    carried: NDArray[np.bool_] = finite & (
        zero | ((dots > 0) & (dots**2 >= MIN_COSINE**2 * squares))
    )
    return carried
