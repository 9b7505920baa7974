"""Which items each user has had an event with, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class SeenItems:
    """User j has seen the catalogue rows `rows[starts[j]:starts[j + 1]]`.

    Attributes
    ----------
    users : id to j
    starts : (u + 1,) int64
    rows : (p,) int32
    """

    users: Mapping[str, int]
    starts: Rows
    rows: NDArray[np.int32]

    def of(self, user_id: str) -> Rows:
        """(k,) distinct catalogue rows that the user has seen."""
        at = self.users.get(user_id)
        if at is None:
            return np.zeros(0, dtype=np.int64)
        return self.rows[self.starts[at] : self.starts[at + 1]].astype(np.int64)


def load_seen_items(interactions: Path, item_ids: list[str]) -> SeenItems:
    """Who has seen what according to the prepared interactions; item i is row i of `item_ids`.

    Items that are no longer in the catalogue are left out: they cannot be recommended.
    """
    items = pl.DataFrame({"item_id": item_ids}).with_row_index("row")
    pairs = (
        pl.scan_parquet(interactions)
        .select("user_id", "item_id")
        .unique()
        .join(items.lazy(), on="item_id", how="left")
        .sort("user_id", "row")
        .select("user_id", "row")
        .collect()
    )
    sizes = pairs.group_by("user_id", maintain_order=True).agg(n=pl.col("row").count())
    users = {user: at for at, user in enumerate(sizes["user_id"].to_list())}
    starts = np.concatenate([[0], np.cumsum(sizes["n"].to_numpy())]).astype(np.int64)
    return SeenItems(users, starts, pairs["row"].drop_nulls().to_numpy().astype(np.int32))
