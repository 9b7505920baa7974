"""Many vectors as a graph in a folder, where each is linked to some that are near to it.

The graph is HNSW (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search
using hierarchical navigable small world graphs", algorithms 1 and 5) of faiss, a vector one byte a
number.
"""

import threading
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.files import digest_file
from feast_fusion.sealed_json import read_json, write_json
from serving.graph.keyed_vectors import KeyedVectors, Keys

Places = NDArray[np.int64]

_LINKS, _IN_VIEW_BUILDING = 32, 80
# Vectors from which the range of each number is learned.
_LEARNED_FROM = 20_000
# Vectors between two looks at whether to stop, about half a second.
_BATCH = 2_000
_GRAPH, _KEYS, _MANIFEST = "graph.faiss", "keys.npy", "manifest.json"


@dataclass(frozen=True)
class VectorGraph:
    """n vectors, found by their places 0 to n - 1. Memory-mapped; safe for many threads.

    Attributes
    ----------
    keys : (n,) what lies at each place, see `KeyedVectors`
    """

    folder: Path
    keys: Keys
    _index: faiss.Index

    @classmethod
    def open(cls, folder: Path) -> "VectorGraph":
        """The graph of a folder, every byte of which is as it was written.

        Raises
        ------
        SchemaError
            A file is absent, or another than was written.
        """
        for name, digest in read_json(folder / _MANIFEST)["sha256"].items():
            path = folder / name
            if not path.is_file() or digest_file(path) != digest:
                raise schema_error(
                    str(path),
                    got="no such file" if not path.is_file() else "other bytes than were written",
                    expected="the graph as it was built",
                    remedy="Delete its folder: feast-fusion serve builds another one.",
                )
        index = faiss.read_index(str(folder / _GRAPH), faiss.IO_FLAG_MMAP_IFC)
        return cls(folder, np.load(folder / _KEYS, mmap_mode="r"), index)

    def __len__(self) -> int:
        return len(self.keys)

    def nearest(self, query: NDArray[np.float32], k: int) -> Places:
        """At most `k` places, nearest to the (d,) query first, by approximation.

        The first are more certain than the last: ask for more than are needed.
        """
        # faiss's stubs lack it
        parameters = faiss.SearchParametersHNSW(efSearch=k)  # type: ignore[attr-defined]
        found = self._index.search(query[None], k, params=parameters)[1][0]
        places: Places = found[found >= 0]
        return places


def write_graph(
    folder: Path, vectors: KeyedVectors, base: VectorGraph | None, stopped: threading.Event
) -> bool:
    """Write the graph of some vectors into an existing folder; False where it was stopped.

    Works on the caller's thread alone.

    Parameters
    ----------
    base : a graph whose vectors come before them, at the places that they have there
    """
    faiss.omp_set_num_threads(1)
    index = _empty_graph(vectors) if base is None else faiss.read_index(str(base.folder / _GRAPH))
    # The order of keys means nothing: a graph is worse where vectors come in an order that does.
    vectors = vectors.take(np.argsort(vectors.keys))
    for start in range(0, len(vectors), _BATCH):
        if stopped.is_set():
            return False
        index.add(vectors.matrix[vectors.rows[start : start + _BATCH]])
    faiss.write_index(index, str(folder / _GRAPH))
    known = () if base is None else (base.keys,)
    np.save(folder / _KEYS, np.concatenate([*known, vectors.keys]))
    digests = {name: digest_file(folder / name) for name in (_GRAPH, _KEYS)}
    write_json(folder / _MANIFEST, {"sha256": digests})
    return True


def _empty_graph(vectors: KeyedVectors) -> faiss.Index:
    index = faiss.IndexHNSWSQ(
        vectors.matrix.shape[1],
        faiss.ScalarQuantizer.QT_8bit,  # type: ignore[arg-type]  # faiss's stubs take the class
        _LINKS,
        faiss.METRIC_INNER_PRODUCT,
    )
    index.hnsw.efConstruction = _IN_VIEW_BUILDING
    rows = vectors.rows
    index.train(vectors.matrix[rows[:: 1 + len(rows) // _LEARNED_FROM]])
    return index
