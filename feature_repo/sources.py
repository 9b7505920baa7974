"""Where the rows lie: prepared Parquet files, and one sink per batch-transformed view."""

from feast import FileSource, RequestSource
from feast.data_format import ParquetFormat
from feast.field import Field
from feast.types import String

from feast_fusion.column_names import vector_view
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.parquet.whole import read_schema
from feature_repo.declared_dataset import DATASET, ITEM_WRITER, USER_WRITER, WORKSPACE
from transformations import names


def _prepared(name: str) -> FileSource:
    path = WORKSPACE.sources / f"{name}.parquet"
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared source {name!r}. "
            "Run feast-fusion prepare first."
        )
    has_created = "created" in read_schema(path).names
    return FileSource(
        name=name,
        path=str(path),
        timestamp_field="event_timestamp",
        created_timestamp_column="created" if has_created else None,
        description="Written by feast-fusion prepare",
    )


def sink_of(view: str, *model_ids: str) -> FileSource:
    """The folder or table in which the engine keeps the full history of what models made."""
    name = vector_view(view, *model_ids)
    return FileSource(
        name=name,
        path=WORKSPACE.sink(name),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        description="Appended by feast materialize",
    )


items = _prepared(names.ITEMS)
item_stats_rows = _prepared(names.ITEM_STATS)
user_stats_rows = _prepared(names.USER_STATS)
user_recent_rows = _prepared(names.USER_RECENT)
item_neighbour_rows = _prepared(names.ITEM_NEIGHBOURS)
item_factor_rows = _prepared(names.ITEM_FACTORS)
user_snapshots = _prepared(names.USER_SNAPSHOTS)
user_events = _prepared(names.USER_EVENTS)
if DATASET.users is not None:
    users = _prepared(names.USERS)

if ITEM_WRITER is not None:
    item_attribute_rows = sink_of(names.ITEM_ATTRIBUTES, ITEM_WRITER.writer_id)
if USER_WRITER is not None:
    portrait_rows = sink_of(names.USER_PORTRAIT, USER_WRITER.writer_id)

query = RequestSource(name="query", schema=[Field(name="query_text", dtype=String)])
