"""The interest of users after each of their instants, replayed from the prepared sources.

Interest is the moving average of the vectors of the items that a user acted on.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.encoding.vector_cache import Vectors
from feast_fusion.parquet.whole import read_parquet
from transformations.embedder import Embedder
from transformations.interest import InterestRule, replay
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.names import ITEMS, USER_EVENTS
from transformations.schema import CAUSED_AFTER_US


def replay_users(
    embedder: Embedder, users: pl.Series
) -> tuple[pl.DataFrame, Vectors, NDArray[np.bool_]]:
    """(user_id, event_timestamp, state) of every instant of these users, and the states (k, d)."""
    workspace = embedder.workspace
    events = _events_of(workspace.source(USER_EVENTS), users)
    vectors, present, version_of_event = _vectors_of_events(embedder, events)
    weights, decays = _rules(workspace.dataset.interest_rule, events)
    states: list[Vectors | None] = []
    for start, end, instants in _histories(events):
        versions = version_of_event[start:end]
        states += replay(
            vectors[versions],
            present[versions],
            weights[start:end],
            instants,
            decays[start:end],
        )
    known = np.array([state is not None for state in states], dtype=bool)
    absent = np.zeros(embedder.identity.dimension, dtype=np.float32)
    matrix = np.stack([absent if state is None else state for state in states])
    instants_of_users = events.select("user_id", "event_timestamp").unique(maintain_order=True)
    return instants_of_users.with_row_index("state"), matrix, known


def _rules(
    rule: InterestRule, events: pl.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) weight and (n,) decay of each event."""
    kinds = events.select("positives", "types")
    distinct = kinds.unique()
    rules = [rule(positive == 1, kind) for positive, kind in distinct.iter_rows()]
    columns = ("weight", "decay")
    named = distinct.hstack(
        pl.DataFrame(rules, schema=dict.fromkeys(columns, pl.Float64), orient="row")
    )
    found = kinds.join(
        named, on=["positives", "types"], how="left", nulls_equal=True, maintain_order="left"
    )
    weights, decays = (found[name].to_numpy() for name in columns)
    return weights, decays


def _events_of(path: Path, users: pl.Series) -> pl.DataFrame:
    """One row per event of these users, oldest first; rows of an instant share its timestamp."""
    table = read_parquet(path, where=pc.field("user_id").isin(users.to_arrow()))
    events = pl.DataFrame(table).sort("user_id", "event_timestamp", maintain_order=True)
    return events.explode("item_ids", "positives", "types").rename({"item_ids": "item_id"})


def _histories(events: pl.DataFrame) -> list[tuple[int, int, list[int]]]:
    """Per user: first event, one past the last, and the end of each instant counted from first."""
    sizes = events.group_by("user_id", "event_timestamp", maintain_order=True).len()
    histories, start = [], 0
    for lengths in sizes.group_by("user_id", maintain_order=True).agg("len")["len"]:
        ends = np.cumsum(lengths.to_numpy()).tolist()
        histories.append((start, start + ends[-1], ends))
        start += ends[-1]
    return histories


def _vectors_of_events(
    embedder: Embedder, events: pl.DataFrame
) -> tuple[Vectors, NDArray[np.bool_], NDArray[np.int64]]:
    """Vectors of all item versions, their presence, and each event's version as known then."""
    versions, vectors, present = embed_item_versions(embedder)
    item = versions.ids.codes(events["item_id"].to_arrow())
    time = events["event_timestamp"].dt.epoch("us").to_numpy() - CAUSED_AFTER_US
    return vectors, present, versions.as_of(item, time)


def embed_item_versions(embedder: Embedder) -> tuple[ItemVersions, Vectors, NDArray[np.bool_]]:
    """The prepared item versions, their vectors (v, d) and (v,) which have one."""
    path = embedder.workspace.source(ITEMS)
    return _embed_versions(embedder, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _embed_versions(
    embedder: Embedder, path: Path, _changed_ns: int
) -> tuple[ItemVersions, Vectors, NDArray[np.bool_]]:
    versions = build_item_versions(read_parquet(path))
    return versions, *embedder.items(versions.table)
