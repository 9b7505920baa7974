"""Labels and rows in one order, cut into ranges that can be matched one by one.

The order is that of the key's hash, then of time, then of a number that no two have. A label and
the rows that it may see lie beside each other, unless the edge of a range lies between them. So
the newest row of each key before an edge is carried over it, as one more row of each later range
in which its key can occur. The search never gives a wrong answer from rows of the key that
are too many, only from rows too few, and with those carried none is missing: the newest row that
a label may see lies in the label's range, or is the newest one before it. A key with half of all
rows is cut like any other.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feast_fusion.retrieval.asof_join import AsOf

RANGE = "range"
_HASH = "hash"
_BEHIND_ROWS = 1 << 62  # a label sorts behind every row of its instant


@dataclass(frozen=True)
class Edges:
    """The first place of each range but the first. All arrays `(n_ranges - 1,)`, rising together.

    Parameters
    ----------
    key : uint64 hash of the key
    time : int64 microseconds
    number : int64 position of a row, or what `label_numbers` gives
    """

    key: NDArray[np.uint64]
    time: NDArray[np.int64]
    number: NDArray[np.int64]

    @classmethod
    def between(cls, places: pl.DataFrame, step: int) -> "Edges":
        """Every `step`-th of `places`, columns `key`, `time` and `number`, in their order."""
        taken = places.sort("key", "time", "number").gather_every(step, step)
        return cls(*(taken[name].to_numpy() for name in ("key", "time", "number")))

    def range_of(self, places: pl.DataFrame) -> NDArray[np.int64]:
        """`(n,)` the range in which each place lies."""
        key, time, number = (places[name].to_numpy() for name in ("key", "time", "number"))
        low, high = (np.searchsorted(self.key, key, side) for side in ("left", "right"))
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = np.minimum((low + high) >> 1, len(self.key) - 1)
            is_tied = (self.time[middle] == time) & (self.number[middle] <= number)
            right = (low < high) & ((self.time[middle] < time) | is_tied)
            low, high = np.where(right, middle + 1, low), np.where(right, high, middle)
        return low

    def last_range(self, key: NDArray[np.uint64]) -> NDArray[np.int64]:
        """`(n,)` the last range in which a key of that hash can occur."""
        return np.searchsorted(self.key, key, "right")


def label_places(labels: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """`key`, `time` and `number` of labels, which have the key columns, `t` and `row`."""
    number = labels["row"] + _BEHIND_ROWS
    return pl.DataFrame({"key": _hash(labels, keys), "time": labels["t"], "number": number})


def row_places(rows: pl.DataFrame, keys: list[str], rule: AsOf) -> list[pl.DataFrame]:
    """`key`, `time` and `number` of rows, by the time they happened and by that they are seen at.

    The second is left out where both are the same. A row that is never seen has a null time.
    """
    happened = rows["ts"] + int(rule.strictly_before)
    places = pl.DataFrame({"key": _hash(rows, keys), "time": happened, "number": rows["position"]})
    if not rule.filter_by_created_timestamp or "created" not in rows.columns:
        return [places]
    seen_from = pl.max_horizontal("time", rows["created"])
    return [
        places,
        places.with_columns(time=pl.when(rows["created"].is_not_null()).then(seen_from)),
    ]


def label_ranges(labels: pl.DataFrame, keys: list[str], edges: Edges) -> pl.DataFrame:
    """The labels with their `range`."""
    found = edges.range_of(label_places(labels, keys))
    return labels.with_columns(pl.Series(RANGE, found))


def row_ranges(rows: pl.DataFrame, keys: list[str], rule: AsOf, edges: Edges) -> pl.DataFrame:
    """The rows with each `range` that may need them: a row can occur in several."""
    parts = []
    for places in row_places(rows, keys, rule):
        is_seen = places["time"].is_not_null()
        places = places.filter(is_seen)
        placed = rows.filter(is_seen).with_columns(
            pl.Series(RANGE, edges.range_of(places)),
            pl.Series(_HASH, places["key"]),
            pl.Series("last", edges.last_range(places["key"].to_numpy())),
        )
        parts += [placed.drop(_HASH, "last"), _carried(placed, keys)]
    return pl.concat(parts).unique([RANGE, "position"]) if len(parts) > 2 else pl.concat(parts)


def _carried(placed: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The newest row of each key before each later range in which the key can occur."""
    times = [name for name in ("ts", "created") if name in placed.columns]
    rows = placed.filter(pl.col(RANGE) < pl.col("last")).sort(*times, "position")
    newest = (
        rows.with_row_index("rank")
        .group_by(*keys, _HASH, RANGE)
        .agg(pl.col("rank", "last").last())
        .sort(RANGE)
        .with_columns(
            pl.col("rank").cum_max().over(*keys, _HASH),
            pl.col(RANGE).shift(-1).over(*keys, _HASH).fill_null(pl.col("last")).alias("last"),
        )
    )
    over = newest.select("rank", pl.int_ranges(pl.col(RANGE) + 1, pl.col("last") + 1).alias(RANGE))
    over = over.explode(RANGE)
    return rows[over["rank"]].drop(_HASH, "last").with_columns(over[RANGE])


def _hash(frame: pl.DataFrame, keys: list[str]) -> pl.Series:
    """uint64, the same wherever one version of polars runs; 0 without keys."""
    if not keys:
        return pl.repeat(0, len(frame), dtype=pl.UInt64, eager=True)
    return frame.select(keys).hash_rows()
