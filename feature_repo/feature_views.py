"""The views kept in the stores, but those of vectors."""

from collections.abc import Callable
from datetime import timedelta

import pandas as pd
import pyarrow as pa
from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource
from feast.types import Array, ComplexFeastType, Float32, Float64, Int64, PrimitiveFeastType, String

from feast_fusion.parquet.whole import read_schema
from feast_fusion.writing.identity import WriterIdentity
from feature_repo import sources
from feature_repo.declared_dataset import DATASET, ITEM_WRITER, USER_WRITER
from feature_repo.entities import item, user
from feature_repo.transformation_source import transformation
from transformations import names
from transformations.writing import write_attributes, write_portraits

FOREVER = timedelta(0)  # no ttl: the newest row holds until the next
OWNER = "feast-fusion"
_NO_FEATURES = {"user_id", "item_id", "event_timestamp", "created", *DATASET.items.availability}
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
    schema = read_schema(source.path)
    return [
        Field(name=column.name, dtype=_feast_type(column.type))
        for column in schema
        if column.name not in _NO_FEATURES
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


def _written(
    entity: Entity,
    source: FeatureView,
    sink: FileSource,
    transform: Callable[..., pd.DataFrame],
    writer: WriterIdentity,
    description: str,
) -> BatchFeatureView:
    """A view of what a writer says: choices and texts as strings, words as lists."""
    asked = writer.attributes
    schema = [
        *(Field(name=name, dtype=String) for name in (*asked.choices, *asked.texts)),
        *(Field(name=name, dtype=Array(String)) for name in asked.words),
    ]
    models = {"writer_id": writer.writer_id}
    return derived(entity, source, sink, schema, transform, description, models)


def derived(
    entity: Entity,
    source: FeatureView,
    sink: FileSource,
    schema: list[Field],
    transform: Callable[..., pd.DataFrame],
    description: str,
    models: dict[str, str],
) -> BatchFeatureView:
    """A view that models make of another, its history in a sink of the same name."""
    return BatchFeatureView(
        name=sink.name,
        entities=[entity],
        source=[source],
        sink_source=sink,
        schema=schema,
        mode="pandas",
        online=True,
        offline=True,
        description=description,
        ttl=FOREVER,
        owner=OWNER,
        tags={"dataset": DATASET.name, **models},
        **transformation(transform, **models),
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

if ITEM_WRITER is not None:
    item_attributes = _written(
        item,
        item_profile,
        sources.item_attribute_rows,
        write_attributes,
        ITEM_WRITER,
        "Attributes that a language model wrote of the item text, one row per version",
    )
if USER_WRITER is not None:
    user_portrait = _written(
        user,
        user_snapshot,
        sources.portrait_rows,
        write_portraits,
        USER_WRITER,
        "What a language model wrote of the user's behaviour, one row per snapshot",
    )
