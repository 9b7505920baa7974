"""The views kept in the stores. Names that end in an encoder id hold vectors of that encoder."""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource
from feast.types import Array, ComplexFeastType, Float32, Float64, Int64, PrimitiveFeastType, String

from feature_repo import sources
from feature_repo.declared_dataset import DATASET, ENCODER, WRITER
from feature_repo.entities import item, user
from feature_repo.transformation_source import transformation
from transformations import names
from transformations.embedding import embed_behaviour, embed_items, track_interest
from transformations.writing import write_attributes

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


def _rows(
    name: str, entity: Entity, source: FileSource, description: str, *, online: bool = True
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[entity],
        source=source,
        schema=_columns_of(source),
        online=online,
        description=description,
        ttl=FOREVER,
        owner=OWNER,
        tags={"dataset": DATASET.name},
    )


def _vectors(
    name: str,
    entity: Entity,
    source: FeatureView,
    sink: FileSource,
    transform: Callable[..., pd.DataFrame],
    description: str,
) -> BatchFeatureView:
    """A view of vectors: one feature, which has the view's name without the encoder."""
    vector = Field(
        name=name,
        dtype=Array(Float32),
        vector_index=True,
        vector_length=ENCODER.dimension,
        vector_search_metric="cosine",
    )
    return BatchFeatureView(
        name=sink.name,
        entities=[entity],
        source=[source],
        sink_source=sink,
        schema=[vector],
        mode="pandas",
        online=True,
        offline=True,
        description=description,
        ttl=FOREVER,
        owner=OWNER,
        tags={"dataset": DATASET.name, "encoder_id": ENCODER.encoder_id},
        **transformation(transform),
    )


item_profile = _rows(
    names.ITEM_PROFILE,
    item,
    sources.items,
    "Structured columns and the text columns of an item, one row per version",
)
item_stats = _rows(
    names.ITEM_STATS,
    item,
    sources.item_stats_rows,
    "Counts, rates, recency and popularity windows, as of each event of the item",
)
user_stats = _rows(
    names.USER_STATS,
    user,
    sources.user_stats_rows,
    "Counts, rates and affinity per category, as of each event of the user",
)
user_recent = _rows(
    names.USER_RECENT,
    user,
    sources.user_recent_rows,
    "The user's last items with their values and ages, most recent first",
)
# These two are read whole, one version at a time, like the vectors of an index; so never online.
item_neighbours = _rows(
    names.ITEM_NEIGHBOURS,
    item,
    sources.item_neighbour_rows,
    "What other people chose: item-item weights and popularity, one row per version of the models",
    online=False,
)
item_factors = _rows(
    names.ITEM_FACTORS,
    item,
    sources.item_factor_rows,
    "How an item is answered on average, and whom it suits, one row per version of the factors",
    online=False,
)
if DATASET.users is not None:
    user_profile = _rows(names.USER_PROFILE, user, sources.users, "Structured columns of a user")

# What the two user transformations read; never served, so never online.
user_snapshot = _rows(
    names.USER_SNAPSHOT,
    user,
    sources.user_snapshots,
    "Liked and disliked titles after each n-th event of the user",
    online=False,
)
user_event = _rows(
    names.USER_EVENT,
    user,
    sources.user_events,
    "The items of each instant at which the user acted",
    online=False,
)

item_embedding = _vectors(
    names.ITEM_EMBEDDING,
    item,
    item_profile,
    sources.item_vectors,
    embed_items,
    "Embedding of the rendered item text, one row per version of the item",
)
user_embedding = _vectors(
    names.USER_EMBEDDING,
    user,
    user_snapshot,
    sources.user_vectors,
    embed_behaviour,
    "Embedding of the behaviour text, one row per snapshot",
)
user_interest = _vectors(
    names.USER_INTEREST,
    user,
    user_event,
    sources.interest_vectors,
    track_interest,
    "Moving average of the vectors of the user's items, one row per instant",
)

if WRITER is not None:
    item_attributes = BatchFeatureView(
        name=sources.item_attribute_rows.name,
        entities=[item],
        source=[item_profile],
        sink_source=sources.item_attribute_rows,
        schema=[
            *(Field(name=name, dtype=String) for name in WRITER.attributes.choices),
            *(Field(name=name, dtype=Array(String)) for name in WRITER.attributes.words),
        ],
        mode="pandas",
        online=True,
        offline=True,
        description="Attributes that a language model wrote of the item text, one row per version",
        ttl=FOREVER,
        owner=OWNER,
        tags={"dataset": DATASET.name, "writer_id": WRITER.writer_id},
        **transformation(write_attributes, f"writer_id={WRITER.writer_id!r}"),
    )
