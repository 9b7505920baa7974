"""Which items each user has had an event with, in memory."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.parquet.whole import read_parquet
from feast_fusion.times import to_micros
from serving.vector_index import Rows
from transformations.id_map import IdMap


@dataclass(frozen=True)
class SeenItems:
    """User j has seen the catalogue rows `rows[starts[j]:starts[j + 1]]`, first at `first[...]`.

    Attributes
    ----------
    users : the u user ids; j is the code of a user
    starts : (u + 1,) int64
    rows : (p,) int32
    first : (p,) int64, microseconds since the epoch
    """

    users: IdMap
    starts: Rows
    rows: NDArray[np.int32]
    first: NDArray[np.int64]

    def of(self, user_id: str, before: datetime | None = None) -> Rows:
        """(k,) distinct catalogue rows that the user has seen, ever or before an instant."""
        at = self.users.code(user_id)
        if at is None:
            return np.zeros(0, dtype=np.int64)
        of_user = slice(self.starts[at], self.starts[at + 1])
        rows = self.rows[of_user].astype(np.int64)
        return rows if before is None else rows[self.first[of_user] < to_micros(before)]


def load_seen_items(interactions: Path, catalogue: IdMap) -> SeenItems:
    """Who has seen what according to the prepared interactions; an item's row is its code.

    Items that are no longer in the catalogue are left out: they cannot be recommended.
    """
    pairs = (
        pl.DataFrame(read_parquet(interactions, ["user_id", "item_id", "event_timestamp"]))
        .group_by("user_id", "item_id")
        .agg(first=pl.col("event_timestamp").min())
    )
    users = IdMap.of(_arrow(pairs["user_id"]))
    user, row = users.codes(_arrow(pairs["user_id"])), catalogue.codes(_arrow(pairs["item_id"]))
    first = pairs["first"].to_physical().to_numpy()
    user, row, first = user[row >= 0], row[row >= 0], first[row >= 0]
    order = np.lexsort((row, user))
    starts = np.searchsorted(user[order], np.arange(len(users) + 1))
    return SeenItems(users, starts, row[order].astype(np.int32), first[order])


def _arrow(ids: pl.Series) -> pa.Array:
    return ids.to_arrow(compat_level=pl.CompatLevel.oldest())
