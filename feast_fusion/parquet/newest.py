"""Of the rows of one key, which is the newest."""

from collections.abc import Sequence

import polars as pl

from feast_fusion.parquet.parquet_source import POSITION, Positions


def newest(rows: pl.DataFrame, keys: Sequence[str], ordering: Sequence[str]) -> Positions:
    """Ascending positions of the newest row of each key; a row with a null key has no key.

    Newest is the latest by the columns of `ordering` (event timestamp, then created timestamp; null
    is the oldest), then the last position. Without `keys` all rows have the same key.
    """
    known = rows.drop_nulls(list(keys)) if keys else rows
    ordered = known.sort([*ordering, POSITION], nulls_last=False)
    if not keys:
        return ordered.tail(1)[POSITION].to_numpy()
    last = ordered.unique(list(keys), keep="last", maintain_order=False)
    return last[POSITION].sort().to_numpy()
