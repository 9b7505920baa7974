"""Which items are worth ranking: what several sources name, merged in turns.

Sources: nearest to the user's interest, to the user's behaviour, to the query; popular; fresh.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue, Rows

# The user's vectors by the source that they are the query of.
USER_SOURCES = {"interest": "user_interest", "behaviour": "user_embedding"}
QUERY, POPULAR, FRESH = "query", "popular", "fresh"
# Fresh items have one turn of so many: most of them are never liked, and without any none can be.
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
        rows = [catalogue.row_of.get(item_id, -1) for item_id in distinct]
        return cls(distinct, np.array(rows, dtype=np.int64), {})

    def __len__(self) -> int:
        return len(self.item_ids)

    def sources(self, at: int) -> tuple[str, ...]:
        """The sources that named the candidate at this place."""
        row = self.rows[at]
        return tuple(name for name, order in self.orders.items() if (order == row).any())


def gather_candidates(
    catalogue: Catalogue,
    queries: Mapping[str, NDArray[np.float32]],
    seen: Rows,
    n: int,
) -> Candidates:
    """At most `n` unseen items: the nearest to each query and the popular in turns, some fresh.

    Sources take turns, so each keeps its best when they overlap or one runs dry; fewer than `n`
    come back only when the catalogue has no more unseen items.

    Parameters
    ----------
    queries : (d,) vectors by source
    seen : catalogue rows that must not come back
    """
    unseen = np.ones(len(catalogue), dtype=bool)
    unseen[seen] = False
    n_seen = len(catalogue) - int(unseen.sum())
    # Twice the share, as sources overlap; popular ones fill what is left.
    depth = min(n, 2 * -(-n // (len(queries) + 1)))
    orders = {
        name: catalogue.index.nearest(query, depth + n_seen)[0] for name, query in queries.items()
    }
    orders[POPULAR] = np.arange(min(len(catalogue), n + n_seen))
    orders[FRESH] = catalogue.fresh[: n // FRESH_EVERY + n_seen]
    orders = {name: order[unseen[order]] for name, order in orders.items()}
    orders = {name: order[: _depth(name, n, depth)] for name, order in orders.items()}
    rows = _merge(orders)[:n]
    return Candidates([catalogue.item_ids[row] for row in rows.tolist()], rows, orders)


def _depth(name: str, n: int, depth: int) -> int:
    return {POPULAR: n, FRESH: n // FRESH_EVERY}.get(name, depth)


def _merge(orders: Mapping[str, Rows]) -> Rows:
    """Distinct rows by turn: the first of each source, then the second of each."""
    rows = np.concatenate(list(orders.values()))
    turns = [
        np.arange(len(order)) * (FRESH_EVERY if name == FRESH else 1)
        for name, order in orders.items()
    ]
    rows = rows[np.argsort(np.concatenate(turns), kind="stable")]
    _, first = np.unique(rows, return_index=True)
    merged: Rows = rows[np.sort(first)]
    return merged
