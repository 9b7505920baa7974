"""A vector index on the newest graph, and the thread that builds the next one."""

import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from serving.graph.graph_folder import GraphFolder
from serving.graph.keyed_vectors import KeyedVectors
from serving.graph.placed_graph import PlacedGraph
from serving.vector_index import VectorIndex

_log = logging.getLogger(__name__)

# Comparing this many vectors costs about as much as the rest of a candidate search.
EXACT_LIMIT = 20_000
# A tenth of a core where answers want all of it: a building goes on, if slowly.
_NICE = 10


class GraphWatch(AbstractContextManager["GraphWatch"]):
    """Puts large indexes of one encoder's vectors on a graph.

    Nobody waits for the building: without a graph, or with an old one, searches are right and slow.
    """

    def __init__(self, folder: Path) -> None:
        self._graphs = GraphFolder(folder)
        self._vectors: KeyedVectors | None = None
        self._failed: KeyedVectors | None = None
        self._closed = threading.Event()
        self._builder: threading.Thread | None = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop building, which leaves nothing behind."""
        self._closed.set()
        if self._builder is not None:
            self._builder.join()

    def place(self, index: VectorIndex, item_ids: Sequence[str]) -> VectorIndex:
        """The index on the newest graph, itself where it is; begins to build what is missing.

        Called again and again, for it finds graphs that another process has built.

        Parameters
        ----------
        item_ids : (n,) what the rows of the index are called
        """
        if index.n_present <= EXACT_LIMIT:
            return index
        if self._vectors is None or self._vectors.matrix is not index.vectors:
            self._vectors = KeyedVectors.of(item_ids, index.vectors, index.present)
        newest, placed = self._graphs.newest(), index.placed
        if newest is not None and (placed is None or placed.graph is not newest):
            placed = PlacedGraph.of(newest, self._vectors)
        if placed is None or placed.is_outdated:
            self._build(self._vectors)
        return index if placed is index.placed else replace(index, placed=placed)

    def _build(self, vectors: KeyedVectors) -> None:
        is_building = self._builder is not None and self._builder.is_alive()
        if is_building or vectors is self._failed:
            return
        self._builder = threading.Thread(
            target=self._run, args=[vectors], name="graph builder", daemon=True
        )
        self._builder.start()

    def _run(self, vectors: KeyedVectors) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            self._graphs.build(vectors, self._closed)
        except Exception as error:  # a full disk: not tried again for the same vectors
            _log.warning("graph of vectors: not built, searches stay exact: %s", error)
            self._failed = vectors
