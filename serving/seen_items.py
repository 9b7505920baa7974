"""Which items each user has had an event with, in memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from serving.vector_index import Rows
from transformations.id_map import IdMap


@dataclass(frozen=True)
class SeenItems:
    """User j has seen the catalogue rows `rows[starts[j]:starts[j + 1]]`.

    Attributes
    ----------
    users : the u user ids; j is the code of a user
    starts : (u + 1,) int64
    rows : (p,) int32
    """

    users: IdMap
    starts: Rows
    rows: NDArray[np.int32]

    def of(self, user_id: str) -> Rows:
        """(k,) distinct catalogue rows that the user has seen."""
        at = self.users.code(user_id)
        if at is None:
            return np.zeros(0, dtype=np.int64)
        return self.rows[self.starts[at] : self.starts[at + 1]].astype(np.int64)


def load_seen_items(interactions: Path, catalogue: IdMap) -> SeenItems:
    """Who has seen what according to the prepared interactions; an item's row is its code.

    Items that are no longer in the catalogue are left out: they cannot be recommended.
    """
    pairs = pl.scan_parquet(interactions).select("user_id", "item_id").unique().collect()
    users = IdMap.of(_arrow(pairs["user_id"]))
    user, row = users.codes(_arrow(pairs["user_id"])), catalogue.codes(_arrow(pairs["item_id"]))
    user, row = user[row >= 0], row[row >= 0]
    order = np.lexsort((row, user))
    starts = np.searchsorted(user[order], np.arange(len(users) + 1))
    return SeenItems(users, starts, row[order].astype(np.int32))


def _arrow(ids: pl.Series) -> pa.Array:
    return ids.to_arrow(compat_level=pl.CompatLevel.oldest())
