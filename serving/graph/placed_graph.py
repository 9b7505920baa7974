"""A graph seen from a catalogue: which rows it finds, and which have to be compared beside it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.graph.keyed_vectors import KeyedVectors

if TYPE_CHECKING:
    from serving.graph.vector_graph import VectorGraph

Rows = NDArray[np.int64]

# The graph is asked for this many times as much as comes back, and for so much at least: the first
# that it finds are more certain than the last.
_ASKED, _LEAST = 3, 300
# One of them costs about as much as comparing this many vectors one by one.
_COST = 10
# Of what the graph finds, this many times as much is compared exactly as comes back.
_MARGIN = 1.3
# Beyond it a graph is out of date: vectors beside it, and the share of it that is in use no more.
_REST, _UNUSED_SHARE = 1_000, 0.2


@dataclass(frozen=True)
class PlacedGraph:
    """A graph and the rows that a catalogue has for its places.

    ================  ===========  =========================================
    in the graph      c, b, a, x   places 0 to 3
    in the catalogue  a, b, c, d   rows 0 to 3
    `row_at`          2, 1, 0, -1  x was removed, or has another vector now
    `rest`            d, row 3     d is new, or has another vector now
    ================  ===========  =========================================

    Attributes
    ----------
    row_at : row of each place, -1 for none
    rest : the vectors that the graph does not have
    """

    graph: "VectorGraph"
    row_at: NDArray[np.int32]
    rest: KeyedVectors

    @classmethod
    def of(cls, graph: "VectorGraph", vectors: KeyedVectors) -> "PlacedGraph":
        """The graph under the rows of a catalogue."""
        order = np.argsort(graph.keys)
        at = np.searchsorted(graph.keys, vectors.keys, sorter=order)
        places = order[at.clip(max=len(order) - 1)]
        has = graph.keys[places] == vectors.keys
        row_at = np.full(len(order), -1, dtype=np.int32)
        row_at[places[has]] = vectors.rows[has]
        return cls(graph, row_at, vectors.take(np.flatnonzero(~has)))

    @property
    def is_outdated(self) -> bool:
        """Whether another graph is worth building."""
        return len(self.rest) > _REST or self.is_worn

    @property
    def is_worn(self) -> bool:
        """Whether so much of it is in use no more that it is built anew, not continued."""
        return float((self.row_at < 0).mean()) > _UNUSED_SHARE

    def candidates(
        self, query: NDArray[np.float32], k: int, usable: NDArray[np.bool_], n_usable: int
    ) -> Rows | None:
        """Usable rows among which the `k` nearest are; None where comparing all costs less.

        Parameters
        ----------
        usable : (n,) which rows may be found, `n_usable` of them
        """
        wanted = max(_LEAST, _ASKED * k * len(self.row_at) // n_usable)
        rest = self.rest.rows[usable[self.rest.rows]]
        while _COST * wanted + len(rest) < n_usable:
            rows = self.row_at[self.graph.nearest(query, wanted)]
            rows = rows[rows >= 0]
            rows = rows[usable[rows]]
            if len(rows) >= k:
                return np.concatenate([rows[: int(_MARGIN * k)], rest])
            wanted *= 4  # what may be found is far from the query
        return None
