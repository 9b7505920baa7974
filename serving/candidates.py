"""Which items are worth ranking: what several sources name, merged in turns.

Sources:

- nearest to the user's interest (a moving average of the vectors of the items acted on)
- nearest to the user's behaviour (the vector of the text that tells what the user liked so far)
- nearest to the query
- popular
- fresh
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.vector_index import Rows, Vectors
from transformations import names

# By source the user's vector that it searches with.
USER_SOURCES = {"interest": names.USER_INTEREST, "behaviour": names.USER_EMBEDDING}
QUERY, POPULAR, FRESH = "query", "popular", "fresh"
# Fresh items have one turn in ten: most of them are never liked, and without any none can be.
FRESH_EVERY = 10


@dataclass(frozen=True)
class Candidates:
    """Distinct items to be ranked.

    Attributes
    ----------
    item_ids : m ids
    rows : (m,) their catalogue rows, -1 for an item that the catalogue does not have
    orders : by source the rows that it named, its best first
    """

    item_ids: Sequence[str]
    rows: Rows
    orders: Mapping[str, Rows]

    @classmethod
    def named(cls, catalogue: Catalogue, item_ids: Iterable[str]) -> "Candidates":
        """The items that a caller names, each once; no source has named them."""
        distinct = list(dict.fromkeys(item_ids))
        return cls(distinct, catalogue.items.codes(distinct), {})

    def __len__(self) -> int:
        return len(self.item_ids)

    def sources(self, at: int) -> tuple[str, ...]:
        """The sources that named the candidate at this place."""
        row = self.rows[at]
        return tuple(name for name, order in self.orders.items() if (order == row).any())


@dataclass(frozen=True)
class Source:
    """One way to find candidates.

    Attributes
    ----------
    best : k -> at most k catalogue rows, the best first
    depth : how many unseen rows it may name
    every : it has one turn of this many
    """

    name: str
    best: Callable[[int], Rows]
    depth: int
    every: int = 1


def list_sources(catalogue: Catalogue, queries: Mapping[str, Vectors], n: int) -> list[Source]:
    """Where `n` candidates come from: nearest to each of some (d,) vectors; popular; fresh."""
    # Twice the share, as sources overlap; popular items fill what is left.
    depth = min(n, 2 * -(-n // (len(queries) + 1)))
    return [
        *(Source(name, _nearest(catalogue, query), depth) for name, query in queries.items()),
        Source(POPULAR, lambda k: np.arange(min(len(catalogue), k)), n),
        Source(FRESH, lambda k: catalogue.fresh[:k], n // FRESH_EVERY, FRESH_EVERY),
    ]


def _nearest(catalogue: Catalogue, query: Vectors) -> Callable[[int], Rows]:
    return lambda k: catalogue.index.nearest(query, k)[0]


def gather_candidates(
    catalogue: Catalogue, sources: Sequence[Source], seen: Rows, n: int
) -> Candidates:
    """At most `n` unseen items, which the sources name in turns.

    Each source keeps its best when sources overlap or one runs dry; fewer than `n` come back only
    when no source names more.

    Parameters
    ----------
    seen : catalogue rows that must not come back
    """
    unseen = np.ones(len(catalogue), dtype=bool)
    unseen[seen] = False
    n_seen = len(catalogue) - int(unseen.sum())
    named = [source.best(source.depth + n_seen) for source in sources]
    orders = [
        rows[unseen[rows]][: source.depth] for source, rows in zip(sources, named, strict=True)
    ]
    turns = [
        np.arange(len(order)) * source.every for source, order in zip(sources, orders, strict=True)
    ]
    rows = _merge(orders, turns)[:n]
    by_name = {source.name: order for source, order in zip(sources, orders, strict=True)}
    return Candidates([catalogue.item_ids[row] for row in rows.tolist()], rows, by_name)


def _merge(orders: Sequence[Rows], turns: Sequence[Rows]) -> Rows:
    """Distinct rows by turn: the first of each source, then the second of each.

    The orders 7, 8, 9 and 8, 5 with the turns 0, 1, 2 and 0, 10 give 7, 8, 9, 5.
    """
    rows = np.concatenate(orders)[np.argsort(np.concatenate(turns), kind="stable")]
    _, first = np.unique(rows, return_index=True)
    merged: Rows = rows[np.sort(first)]
    return merged
