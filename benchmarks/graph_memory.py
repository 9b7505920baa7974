"""What a process pays in memory of its own for a graph, mapped or read: it prints the MB."""

import ctypes
import gc
import sys
from pathlib import Path

import faiss
import numpy as np

from serving.graph.keyed_vectors import KeyedVectors
from serving.graph.placed_graph import PlacedGraph
from serving.graph.vector_graph import VectorGraph


def open_and_search(folder: Path, d: int) -> PlacedGraph:
    """What a process has that answers by the graph; a catalogue's vectors are another matter."""
    graph = VectorGraph.open(folder)
    for query in np.random.default_rng(0).normal(size=(20, d)).astype(np.float32):
        graph.nearest(query, 100)
    nothing = np.empty((0, d), dtype=np.float32)
    return PlacedGraph.of(graph, KeyedVectors(nothing, np.arange(len(graph)), graph.keys))


def own_memory_mb() -> float:
    """What no other process shares and this one uses: memory that is of no file, nor freed."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def added_mb(folder: Path, d: int, how: str) -> float:
    """What opening and searching adds, while it is held."""
    before = own_memory_mb()
    held: object
    if how == "mapped":
        held = open_and_search(folder, d)
    else:
        held = faiss.read_index(str(folder / "graph.faiss"))
    added = own_memory_mb() - before
    del held
    return added


if __name__ == "__main__":
    print(added_mb(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
