"""Inverted lists of many vectors, by faiss: a search compares with one list in six."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import faiss

# Searching more lists costs more time than it gains recall.
_PROBED = 6
_TRAINED_PER_LIST = 64


def build_lists(
    vectors: NDArray[np.float32],
    ids: NDArray[np.int64],
    *,
    euclidean: bool,
    of_length_1: bool,
) -> "faiss.Index":
    """Lists of (n, d) vectors in half precision, found by their (n,) ids.

    Parameters
    ----------
    euclidean : nearest by Euclidean distance, in place of by inner product
    of_length_1 : whether the vectors are, so that only directions are told apart

    Raises
    ------
    ModuleNotFoundError
        faiss is not installed.
    """
    import faiss  # an extra of the plain install

    d, n_lists = vectors.shape[1], int(1.6 * np.sqrt(len(ids)))
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatL2(d) if euclidean else faiss.IndexFlatIP(d),
        d,
        n_lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_L2 if euclidean else faiss.METRIC_INNER_PRODUCT,
    )
    index.cp.spherical = of_length_1
    index.cp.niter = 8
    index.cp.max_points_per_centroid = _TRAINED_PER_LIST
    index.train(vectors)
    index.add_with_ids(vectors, ids)
    index.nprobe = max(1, n_lists // _PROBED)
    return index
