"""The versions of a graph in a folder: the newest is searched, the one before it is a reserve."""

import logging
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from feast_fusion.errors import SchemaError
from feast_fusion.files import private_folder
from serving.graph.keyed_vectors import KeyedVectors
from serving.graph.placed_graph import PlacedGraph

if TYPE_CHECKING:
    from serving.graph.vector_graph import VectorGraph

_log = logging.getLogger(__name__)

_KEPT = 2
_BUILDING, _LOCK = ".building.tmp", ".lock"


class GraphFolder:
    """Graphs 000001, 000002 ... of one encoder's vectors. Nothing in them is ever changed.

    A version that others still search may be deleted: what they have mapped stays theirs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: VectorGraph | None = None
        self._damaged: set[Path] = set()

    def newest(self) -> "VectorGraph | None":
        """The newest version that is whole, None without one."""
        for folder in self._versions():
            if self._opened is not None and self._opened.folder == folder:
                return self._opened
            if folder not in self._damaged:
                try:
                    self._opened = _open(folder)
                except (SchemaError, OSError, RuntimeError) as error:  # RuntimeError: of faiss
                    _log.warning("graph of vectors: not used, another is built: %s", error)
                    self._damaged.add(folder)
                else:
                    return self._opened
        return None

    def build(self, vectors: KeyedVectors, stopped: threading.Event) -> None:
        """A version for these vectors, unless there is one, or another process builds.

        It continues the newest version, while most of that one is still in use.
        """
        private_folder(self._folder)
        with suppress(Timeout), FileLock(self._folder / _LOCK, timeout=0):
            newest = self.newest()
            placed = None if newest is None else PlacedGraph.of(newest, vectors)
            if placed is None or placed.is_worn:
                self._write(vectors, None, stopped)
            elif placed.is_outdated:
                self._write(placed.rest, placed.graph, stopped)

    def _write(
        self, vectors: KeyedVectors, base: "VectorGraph | None", stopped: threading.Event
    ) -> None:
        from serving.graph.vector_graph import write_graph  # faiss, which few catalogues need

        building = self._folder / _BUILDING
        shutil.rmtree(building, ignore_errors=True)  # of a killed process
        building.mkdir()
        try:
            if write_graph(building, vectors, base, stopped):
                versions = self._versions()
                number = 1 + (int(versions[0].name) if versions else 0)
                building.rename(self._folder / f"{number:06d}")
                for folder in versions[_KEPT - 1 :]:
                    shutil.rmtree(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _versions(self) -> list[Path]:
        """The newest first."""
        return sorted(self._folder.glob("[0-9]*"), reverse=True)


def _open(folder: Path) -> "VectorGraph":
    from serving.graph.vector_graph import VectorGraph  # faiss, which few catalogues need

    return VectorGraph.open(folder)
