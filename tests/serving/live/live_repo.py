"""A prepared data set, its online views on a real Redis, and what they must hold after events."""

import math
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Float32, Float64, Int64, String

from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.errors import SchemaError
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace, open_workspace
from serving.live.live_features import LiveFeatures
from tests.datasets import make_films
from tests.feast_fusion.online.online_repo import PATIENT
from transformations.declared_encoders import identify, identify_every
from transformations.embedder import Embedder
from transformations.embedding import track_interest
from transformations.interest_history import embed_item_versions
from transformations.prepared_sources import write_sources
from transformations.schema import ITEM_STATS, USER_RECENT, USER_STATS

SCALARS = {pa.int64(): Int64, pa.float32(): Float32, pa.float64(): Float64, pa.string(): String}
VIEWS = {"item_stats": ITEM_STATS, "user_stats": USER_STATS, "user_recent": USER_RECENT}
INTEREST_TYPES = """
[interest]
decay = 0.8
[interactions.types.view]
interest_weight = 0.2
decay = 0.95
[interactions.types.buy]
interest_weight = 2.0
"""


def make_workspace(folder: Path, **size: int) -> Workspace:
    description = make_films(folder / "data", **size)
    with description.open("a", encoding="utf-8") as file:
        file.write(INTEREST_TYPES)
    workspace = open_workspace(description, folder / "home")
    write_sources(workspace)
    embed_item_versions(embedder(workspace))  # encoded once for all copies
    return workspace


def encoder_id(workspace: Workspace) -> str:
    return identify(workspace.dataset).encoder_id


def embedder(workspace: Workspace) -> Embedder:
    return Embedder(workspace, encoder_id(workspace))


def open_store(workspace: Workspace, redis: str) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project=workspace.dataset.name,
            provider="local",
            registry={"registry_type": "sql", "path": f"sqlite:///{workspace.registry}"},
            online_store={
                "type": "feast_fusion.redis_matrix.MatrixRedisOnlineStore",
                "connection_string": redis,
                **PATIENT,
            },
            entity_key_serialization_version=3,
        )
    )


def apply_views(workspace: Workspace, store: FeatureStore) -> None:
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    views = [
        FeatureView(
            name=name,
            entities=[item if name == "item_stats" else user],
            source=_source(workspace, name),
            schema=[Field(name=f.name, dtype=_feast_type(f.type)) for f in list(schema)[2:]],
            ttl=timedelta(0),
        )
        for name, schema in VIEWS.items()
    ]
    interest = [
        _interest_view(workspace, user, identity)
        for _, identity in identify_every(workspace.dataset)
    ]
    store.apply([user, item, *views, *interest])


def _interest_view(workspace: Workspace, user: Entity, encoder: EncoderIdentity) -> FeatureView:
    width = {"vector_index": True, "vector_length": encoder.dimension}
    return FeatureView(
        name=f"user_interest__{encoder.encoder_id}",
        entities=[user],
        source=_source(workspace, "user_events"),
        schema=[Field(name="user_interest", dtype=Array(Float32), **width)],
        ttl=timedelta(0),
    )


def open_features(workspace: Workspace, redis: str) -> tuple[LiveFeatures, FeatureStore]:
    store = open_store(workspace, redis)
    return LiveFeatures.open(workspace, store, [embedder(workspace)]), store


def close(store: FeatureStore) -> None:
    online_store_of(store).disconnect()


@dataclass(frozen=True)
class Newest:
    """The newest row of each key, by view."""

    rows: dict[str, dict[str, dict[str, Any]]]


def offline_rows(
    workspace: Workspace, folder: Path, now: datetime | None = None, encoder: str | None = None
) -> Newest:
    """What prepare makes of file and journal together, in a workspace of its own.

    encoder : of the interest, by default the main one
    """
    folded = open_workspace(workspace.dataset.path, folder)
    shutil.copytree(workspace.events, folded.events)
    shutil.copytree(workspace.vectors, folded.vectors)
    write_sources(folded, now=now)
    rows = {}
    for name, schema in VIEWS.items():
        rows[name] = _newest(pq.read_table(folded.sources / f"{name}.parquet"), schema.names[0])
    events = pq.read_table(folded.sources / "user_events.parquet").to_pandas()
    states: pd.DataFrame = track_interest(
        events,
        dataset=str(folded.dataset.path),
        home=str(folded.home),
        encoder_id=encoder or encoder_id(folded),
    )
    rows["user_interest"] = _newest(pa.Table.from_pandas(states), "user_id")
    return Newest(rows)


def online_rows(
    workspace: Workspace, store: FeatureStore, expected: Newest, encoder: str | None = None
) -> Newest:
    """What the online store has for the keys that `expected` has."""
    found = {}
    for view, rows in expected.rows.items():
        key = "item_id" if view == "item_stats" else "user_id"
        name = view if view in VIEWS else f"{view}__{encoder or encoder_id(workspace)}"
        features = [field for field in next(iter(rows.values())) if field != "event_timestamp"]
        read = store.get_online_features(
            features=[f"{name}:{feature}" for feature in features],
            entity_rows=[{key: entity} for entity in rows],
        ).to_dict()
        found[view] = {
            entity: {feature: read[feature][at] for feature in features}
            for at, entity in enumerate(rows)
        }
    return Newest(found)


def differences(found: Newest, expected: Newest, *, keys: set[str]) -> list[str]:
    """What differs to the last bit, for the users and items in `keys`."""
    return [
        f"{view} of {entity}: {feature} is {found.rows[view][entity][feature]}, not {value}"
        for view, rows in expected.rows.items()
        for entity, row in rows.items()
        if entity in keys
        for feature, value in row.items()
        if feature != "event_timestamp" and not _same(found.rows[view][entity][feature], value)
    ]


def _same(found: Any, expected: Any) -> bool:
    if isinstance(expected, list | np.ndarray):
        return (
            found is not None
            and len(found) == len(expected)
            and all(map(_same, list(found), list(expected)))
        )
    if isinstance(expected, float | np.floating) and math.isnan(expected):
        return found is not None and math.isnan(found)
    return bool(found == expected)


def _newest(table: pa.Table, key: str) -> dict[str, dict[str, Any]]:
    frame = pl.DataFrame(table).sort("event_timestamp").unique(key, keep="last")
    rows = {}
    for row in frame.sort(key).iter_rows(named=True):
        entity = row.pop(key)
        rows[entity] = row
    return rows


def _source(workspace: Workspace, name: str) -> FileSource:
    path = str(workspace.sources / f"{name}.parquet")
    return FileSource(name=f"{name}_rows", path=path, timestamp_field="event_timestamp")


def _feast_type(column: pa.DataType) -> Any:
    if pa.types.is_list(column):
        return Array(SCALARS[column.value_type])
    if column not in SCALARS:
        raise SchemaError(f"got {column}, expected one of {list(SCALARS)}")
    return SCALARS[column]
