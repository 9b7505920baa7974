"""The views kept in the stores. Names that end in an encoder id hold vectors of that encoder."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import BatchFeatureView, FeatureView, Field, FileSource
from feast.types import Array, ComplexFeastType, Float32, Float64, Int64, PrimitiveFeastType, String

from feature_repo import sources
from feature_repo.context import DATASET, ENCODER
from feature_repo.entities import item, user
from feature_repo.transformation_source import transformation

FOREVER = timedelta(0)  # no ttl: the newest row holds until the next
OWNER = "feast-fusion"
_KEYS = {"user_id", "item_id", "event_timestamp", "created"}
_SCALARS: dict[pa.DataType, PrimitiveFeastType] = {
    pa.int64(): Int64,
    pa.float32(): Float32,
    pa.float64(): Float64,
    pa.string(): String,
}


def _feast_type(column: pa.DataType) -> PrimitiveFeastType | ComplexFeastType:
    if pa.types.is_list(column):
        return Array(_SCALARS[column.value_type])
    return _SCALARS[column]


def _columns_of(source: FileSource) -> list[Field]:
    """One feature per column of a prepared file: the data set decides what there is."""
    schema = pq.read_schema(source.path)
    return [
        Field(name=column.name, dtype=_feast_type(column.type))
        for column in schema
        if column.name not in _KEYS
    ]


def _vector(name: str) -> list[Field]:
    return [
        Field(
            name=name,
            dtype=Array(Float32),
            vector_index=True,
            vector_length=ENCODER.dimension,
            vector_search_metric="cosine",
        )
    ]


# What all views share; each declaration below says what is its own.
_common: dict[str, Any] = {"ttl": FOREVER, "owner": OWNER}
_rows: dict[str, Any] = _common | {"tags": {"dataset": DATASET.name}}
_vectors: dict[str, Any] = _common | {
    "tags": {"dataset": DATASET.name, "encoder_id": ENCODER.encoder_id},
    "mode": "pandas",
    "online": True,
    "offline": True,
}

item_profile = FeatureView(
    name="item_profile",
    entities=[item],
    source=sources.items,
    schema=_columns_of(sources.items),
    description="Structured columns and the text columns of an item, one row per version",
    **_rows,
)
item_stats = FeatureView(
    name="item_stats",
    entities=[item],
    source=sources.item_stats_rows,
    schema=_columns_of(sources.item_stats_rows),
    description="Counts, rates, recency and popularity windows, as of each event of the item",
    **_rows,
)
user_stats = FeatureView(
    name="user_stats",
    entities=[user],
    source=sources.user_stats_rows,
    schema=_columns_of(sources.user_stats_rows),
    description="Counts, rates and affinity per category, as of each event of the user",
    **_rows,
)
user_recent = FeatureView(
    name="user_recent",
    entities=[user],
    source=sources.user_recent_rows,
    schema=_columns_of(sources.user_recent_rows),
    description="The user's last items with their values and ages, most recent first",
    **_rows,
)
if DATASET.users is not None:
    user_profile = FeatureView(
        name="user_profile",
        entities=[user],
        source=sources.users,
        schema=_columns_of(sources.users),
        description="Structured columns of a user",
        **_rows,
    )

# What the two user transformations read; never served, so never online.
user_snapshot = FeatureView(
    name="user_snapshot",
    entities=[user],
    source=sources.user_snapshots,
    schema=_columns_of(sources.user_snapshots),
    online=False,
    description="Liked and disliked titles after each n-th event of the user",
    **_rows,
)
user_event = FeatureView(
    name="user_event",
    entities=[user],
    source=sources.user_events,
    schema=_columns_of(sources.user_events),
    online=False,
    description="The items of each instant at which the user acted",
    **_rows,
)

item_embedding = BatchFeatureView(
    name=sources.item_vectors.name,
    entities=[item],
    source=[item_profile],
    sink_source=sources.item_vectors,
    schema=_vector("item_embedding"),
    description="Embedding of the rendered item text, one row per version of the item",
    **_vectors,
    **transformation("item_embedding", "transformations.embedding", "embed_items"),
)
user_embedding = BatchFeatureView(
    name=sources.user_vectors.name,
    entities=[user],
    source=[user_snapshot],
    sink_source=sources.user_vectors,
    schema=_vector("user_embedding"),
    description="Embedding of the behaviour text, one row per snapshot",
    **_vectors,
    **transformation("user_embedding", "transformations.embedding", "embed_behaviour"),
)
user_interest = BatchFeatureView(
    name=sources.interest_vectors.name,
    entities=[user],
    source=[user_event],
    sink_source=sources.interest_vectors,
    schema=_vector("user_interest"),
    description="Moving average of the vectors of the user's items, one row per instant",
    **_vectors,
    **transformation("user_interest", "transformations.embedding", "track_interest"),
)
