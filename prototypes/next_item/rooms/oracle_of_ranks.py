"""The protocol "next positive" recomputed from a ranks file and the prepared files, by loops."""

import math
import sys
from pathlib import Path

import polars as pl


def check(ranks: Path, sources: Path) -> dict[str, float]:
    """The measures; raises AssertionError where a top ten breaks the protocol."""
    events: dict[str, list[tuple[object, str]]] = {}
    log = pl.read_parquet(sources / "interactions.parquet")
    for user, item, time in log.select("user_id", "item_id", "event_timestamp").iter_rows():
        events.setdefault(user, []).append((time, item))
    known = {}
    for item, time in (
        pl.read_parquet(sources / "items.parquet").select("item_id", "event_timestamp").iter_rows()
    ):
        known[item] = min(time, known.get(item, time))
    totals, n, titles = {"ndcg@10": 0.0, "hr@10": 0.0, "mrr": 0.0}, 0, set()
    for row in pl.read_parquet(ranks).iter_rows(named=True):
        now = row["event_timestamp"]
        seen = {item for time, item in events[row["user_id"]] if time < now}
        rankable = {item for item, time in known.items() if time <= now and item not in seen}
        top = row["top10"]
        assert len(set(top)) == len(top), row
        assert set(top) <= rankable, (row, set(top) - rankable)
        assert row["n_ranked"] <= len(rankable), row
        assert (now, row["item_id"]) in events[row["user_id"]], row
        place = top.index(row["item_id"]) + 1 if row["item_id"] in top else None
        assert place == (row["rank"] if row["rank"] and row["rank"] <= 10 else None), row
        titles |= set(top)
        n += 1
        if row["rank"]:
            totals["mrr"] += 1 / row["rank"]
        if place:
            totals["hr@10"] += 1
            totals["ndcg@10"] += 1 / math.log2(1 + place)
    return {**{name: total / n for name, total in totals.items()}, "distinct": float(len(titles))}


if __name__ == "__main__":
    for name, value in check(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(f"{name:10}{value:.6f}")
