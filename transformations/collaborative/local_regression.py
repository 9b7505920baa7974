"""Ridge regressions of each item on the few items that say most of it: linear in the items.

The regression of a target j on all other items inverts one matrix over the whole catalogue, which
costs the cube of its items. Here each target has a support N(j) of at most k items and a system
(G[N, N] + ridge I) b = c[N, j] of its own.

Example: with the supports N(7) = {2, 5} and N(8) = {2}, column 7 of the answer has weights in rows
2 and 5, column 8 in row 2.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# Numbers in the systems that are solved at once: 64 MB of float32.
_AT_ONCE = 16_000_000


def solve_locally(gram: sp.csr_matrix, cross: sp.csr_matrix, ridge: float, k: int) -> sp.csr_matrix:
    """(t, t) float32 weights from sources (rows) to targets (columns), at most k in each column.

    The support of a target are the sources that alone explain most of it: those of the largest
    cross[i, j]^2 / (gram[i, i] + ridge), which is what the squared error falls by. With a support
    of all sources the answer is (gram + ridge I)^-1 cross.

    Parameters
    ----------
    gram : (t, t) float32 products of the sources, symmetric
    cross : (t, t) float32 products of sources and targets; a source without an entry there is not
        in the support of the target
    """
    of_target = sp.csr_matrix(cross.T)
    gram = gram.sorted_indices()  # what is sorted is looked up by bisection
    alone = of_target.data / np.sqrt(gram.diagonal() + ridge)[of_target.indices]
    kept = _strongest(alone, of_target.indptr, k)
    offsets = np.searchsorted(kept, of_target.indptr)
    sources, products = of_target.indices[kept], of_target.data[kept]
    weights = np.empty_like(products)
    for targets, width in _blocks(np.diff(offsets)):
        at = offsets[targets][:, None] + np.arange(width)
        inside = at < offsets[targets + 1][:, None]
        at[~inside] = 0
        systems = _systems(gram, sources[at], inside, ridge)
        answers = np.where(inside, products[at], np.float32(0))[:, :, None]
        weights[at[inside]] = np.linalg.solve(systems, answers)[:, :, 0][inside]
    shape = of_target.shape
    return sp.csr_matrix(sp.csr_matrix((weights, sources, offsets), shape=shape).T)


def keep_strongest_sparse(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest weights of each row by magnitude; the rest are left out."""
    kept = _strongest(matrix.data, matrix.indptr, k)
    offsets = np.searchsorted(kept, matrix.indptr)
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], offsets), matrix.shape)


def _strongest(values: NDArray[np.floating], offsets: Ints, k: int) -> Ints:
    """Places of the k values of largest magnitude between every two offsets, ascending."""
    is_kept = np.ones(len(values), bool)
    for row in np.flatnonzero(np.diff(offsets) > k).tolist():
        start, end = offsets[row], offsets[row + 1]
        weak = np.argpartition(-np.abs(values[start:end]), k)[k:]
        is_kept[start + weak] = False
    return np.flatnonzero(is_kept)


def _blocks(widths: Ints) -> Iterator[tuple[Ints, int]]:
    """Targets of about the same width together, and the largest of their widths."""
    order = np.argsort(-widths, kind="stable")[: np.count_nonzero(widths)]
    start = 0
    while start < len(order):
        width = int(widths[order[start]])
        end = start + max(1, _AT_ONCE // width**2)
        yield order[start:end], width
        start = end


def _systems(
    gram: sp.csr_matrix, sources: Ints, inside: NDArray[np.bool_], ridge: float
) -> NDArray[np.float32]:
    """(b, w, w) gram + ridge I among the (b, w) sources of each target; 0 outside of a support."""
    width = sources.shape[1]
    row, column = np.triu_indices(width)  # symmetric: half of the look-ups are enough
    half = np.asarray(gram[sources[:, row].ravel(), sources[:, column].ravel()])
    half = half.reshape(len(sources), -1) * (inside[:, row] & inside[:, column])
    found = np.empty((len(sources), width, width), np.float32)
    found[:, row, column] = found[:, column, row] = half
    found[:, np.arange(width), np.arange(width)] += np.float32(ridge)
    return found
