"""The protocol "next positive": of all items known at an instant, where does the chosen one stand?

A query is one positive event of the last part of the log. What is ranked for it is every item known
at its instant without those that the user had an event with strictly before. The measures look at
one target a query; a target that was not ranked counts as not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP
from training.split import split_by_time
from transformations.id_map import IdMap

Part = Literal["validation", "test"]
Ranks = NDArray[np.int64]

TOP = 10
_RESAMPLES = 1000

RANKS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),  # what the user chose
        ("event_timestamp", TIMESTAMP),
        ("rank", pa.int64()),  # from 1; null where the item was not ranked
        ("n_ranked", pa.int64()),
        ("top10", pa.list_(pa.string())),  # best first
    ]
)


@dataclass(frozen=True)
class Interval:
    """A mean over queries, and the bounds within which 95 % of the resampled means lie."""

    mean: float
    low: float
    high: float


def next_positives(interactions: pa.Table, part: Part, limit: int | None, seed: int) -> pa.Table:
    """The queries: user_id, item_id and event_timestamp of positive events of a part, by time.

    Parameters
    ----------
    interactions : prepared interactions
    part : validation or test of `split_by_time`
    limit : at most this many, drawn without replacement by `seed`; None for all
    """
    rows = getattr(split_by_time(interactions), part)
    positive = interactions["positive"].to_numpy(zero_copy_only=False)
    rows = rows[positive[rows]]
    if limit is not None and len(rows) > limit:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))]
    return interactions.select(["user_id", "item_id", "event_timestamp"]).take(pa.array(rows))


def measure_ranks(ranks: pa.Table, seed: int = 0) -> dict[str, Interval]:
    """NDCG@10, HR@10 and MRR of a table of the schema `RANKS`, with intervals by user.

    A query has one relevant item, so its NDCG@10 is 1 / log2(1 + rank) within the first ten.
    """
    rank = ranks["rank"].fill_null(0).to_numpy().astype(np.float64)
    users = IdMap.of(ranks["user_id"]).codes(ranks["user_id"])
    is_found, is_top = rank > 0, (rank > 0) & (rank <= TOP)
    safe = np.where(is_found, rank, 1.0)
    gains = {
        "ndcg@10": np.where(is_top, 1 / np.log2(1 + safe), 0.0),
        "hr@10": is_top.astype(np.float64),
        "mrr": np.where(is_found, 1 / safe, 0.0),
    }
    return {name: bootstrap_by_user(users, gain, seed) for name, gain in gains.items()}


def bootstrap_by_user(
    users: NDArray[np.int64], values: NDArray[np.float64], seed: int = 0
) -> Interval:
    """The mean of (n,) values, and its 95 % interval when whole users are drawn with replacement.

    Queries of one user are alike, so resampling queries would give too narrow an interval.
    """
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    totals, counts = np.bincount(users, values), np.bincount(users)
    draws = np.random.default_rng(seed).integers(0, len(counts), (_RESAMPLES, len(counts)))
    means = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def recall_at(places: Ranks, depths: Sequence[int]) -> dict[int, float]:
    """Share of targets among the first k of a source, by k; a place counts from 1, 0 is absent."""
    return {k: float(np.mean((places > 0) & (places <= k))) for k in depths}


def distinct_items(ranks: pa.Table) -> int:
    """How many items are in the first ten of any query."""
    return len(pc.unique(ranks["top10"].combine_chunks().flatten()))
