"""Matrices of float32 vectors as serialized Feast values of half or a quarter of the size.

A vector that a form cannot carry is stored in the next larger one; its first bytes tell a reader
which it is (see `vector_decoding`).
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from feast_fusion.online.codec.value_encoding import row_bytes
from feast_fusion.online.codec.vector_decoding import vector_heads

MIN_COSINE = 0.9999  # of a float16 vector to its float32 original
MIN_INT8_COSINE = 0.999

_LARGEST = 127


def encode_half_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """The `Value` of each vector of an (n, d) matrix, d > 0, as float16 where that carries it.

    One that float16 cannot carry (a number overflows, or the cosine to the vector would fall below
    `MIN_COSINE`) is in the stock form.
    """
    rows = vectors.astype("<f4", copy=False)
    with np.errstate(over="ignore"):
        halves = rows.astype("<f2")
    head, half_head, _ = vector_heads(rows.shape[1])
    return [
        half_head + half if carried else head + row
        for row, half, carried in zip(
            row_bytes(rows),
            row_bytes(halves),
            _carried(rows, halves, MIN_COSINE).tolist(),
            strict=True,
        )
    ]


def encode_int8_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """The `Value` of each vector of an (n, d) matrix, d > 0, as int8 where that carries it.

    The scale of a vector is its largest number by size, divided by 127. A vector whose cosine to
    the rounded one would fall below `MIN_INT8_COSINE` (one number is far larger than all others) is
    stored as `encode_half_vectors` stores it.
    """
    rows = vectors.astype("<f4", copy=False)
    scales = np.abs(rows).max(axis=1, keepdims=True) / np.float32(_LARGEST)
    steps = np.divide(rows, scales, out=np.zeros_like(rows), where=scales > 0)
    numbers = np.rint(steps).clip(-_LARGEST, _LARGEST).astype(np.int8)
    with np.errstate(over="ignore"):
        carried = _carried(rows, numbers * scales, MIN_INT8_COSINE)
    *_, head = vector_heads(rows.shape[1])
    larger = iter(encode_half_vectors(rows[~carried]))
    return [
        head + scale + row if is_carried else next(larger)
        for scale, row, is_carried in zip(
            row_bytes(scales.astype("<f4", copy=False)),
            row_bytes(numbers),
            carried.tolist(),
            strict=True,
        )
    ]


VectorEncoder = Callable[[NDArray[np.float32]], list[bytes]]
VECTOR_ENCODERS: Mapping[str, VectorEncoder] = {
    "float16": encode_half_vectors,
    "int8": encode_int8_vectors,
}


def _carried(
    rows: NDArray[np.float32], rounded: NDArray[np.floating], min_cosine: float
) -> NDArray[np.bool_]:
    """Which rows a form carries. In float64, where no square of a float32 overflows."""
    exact, near = rows.astype(np.float64), rounded.astype(np.float64)
    finite = np.isfinite(near).all(axis=1)
    near[~finite] = 0.0
    dots = np.einsum("ij,ij->i", exact, near)
    squares = np.einsum("ij,ij->i", exact, exact) * np.einsum("ij,ij->i", near, near)
    zero = ~exact.any(axis=1)
    carried: NDArray[np.bool_] = finite & (
        zero | ((dots > 0) & (dots**2 >= min_cosine**2 * squares))
    )
    return carried
