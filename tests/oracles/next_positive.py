"""The protocol "next positive" by loops, from a file of ranks and the prepared files alone.

`python tests/oracles/next_positive.py RANKS SOURCES` prints the measures of any such file.
"""

import math
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import polars as pl

Row = dict[str, object]


def read_log(sources: Path) -> tuple[dict[str, list[tuple[datetime, str]]], dict[str, datetime]]:
    """Events of each user, and when each item was first known."""
    events: dict[str, list[tuple[datetime, str]]] = {}
    log = pl.read_parquet(sources / "interactions.parquet")
    for user, item, time in log.select("user_id", "item_id", "event_timestamp").iter_rows():
        events.setdefault(user, []).append((time, item))
    known: dict[str, datetime] = {}
    items = pl.read_parquet(sources / "items.parquet")
    for item, time in items.select("item_id", "event_timestamp").iter_rows():
        known[item] = min(time, known.get(item, time))
    return events, known


def check_ranks(ranks: Path, sources: Path, *, repeats: bool = False) -> dict[str, float]:
    """The measures of a file of ranks; AssertionError where a row breaks the protocol."""
    events, known = read_log(sources)
    rows = list(pl.read_parquet(ranks).iter_rows(named=True))
    for row in rows:
        now, top, place = row["event_timestamp"], row["top10"], row["rank"]
        seen = {item for time, item in events[row["user_id"]] if time < now}
        rankable = {item for item, time in known.items() if time <= now}
        rankable -= set() if repeats else seen
        assert (now, row["item_id"]) in events[row["user_id"]], f"no such event: {row}"
        assert set(top) <= rankable, f"not rankable: {set(top) - rankable} in {row}"
        assert len(set(top)) == len(top) == min(10, row["n_ranked"]), f"top ten: {row}"
        assert row["n_ranked"] <= len(rankable), f"ranked more than there is: {row}"
        assert place is None or 1 <= place <= row["n_ranked"], f"rank: {row}"
        inside = top.index(row["item_id"]) + 1 if row["item_id"] in top else None
        assert inside == (place if place and place <= 10 else None), f"rank is not place: {row}"
    return measure([row["rank"] for row in rows]) | {
        "distinct": float(len({item for row in rows for item in row["top10"]}))
    }


def measure(ranks: Sequence[int | None], *, first_rank: int = 1) -> dict[str, float]:
    """Means over queries; `first_rank` is where the planted mistake of the tests goes in."""
    total = {"ndcg@10": 0.0, "hr@10": 0.0, "mrr": 0.0}
    for rank in ranks:
        if rank is None:
            continue
        total["mrr"] += 1 / rank
        if rank <= 10:
            total["hr@10"] += 1
            total["ndcg@10"] += 1 / math.log2(rank + first_rank)
    return {name: value / len(ranks) for name, value in total.items()}


def rank_slowly(scores: dict[str, float], rankable: set[str], chosen: str) -> tuple[int, list[str]]:
    """Rank of the chosen item (0 where it is not ranked) and the first ten, ties by id."""
    order = sorted(rankable, key=lambda item: (-scores[item], item))
    return (order.index(chosen) + 1 if chosen in rankable else 0), order[:10]


if __name__ == "__main__":
    for name, value in check_ranks(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(f"{name:10}{value:.6f}")
