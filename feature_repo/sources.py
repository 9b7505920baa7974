"""Where the rows lie: prepared Parquet files, and one folder per batch-transformed view."""

import pyarrow.parquet as pq
from feast import FileSource, RequestSource
from feast.data_format import ParquetFormat
from feast.field import Field
from feast.types import String

from feast_fusion.errors import FeatureNotFoundError
from feature_repo.context import DATASET, ENCODER, WORKSPACE


def _prepared(name: str) -> FileSource:
    path = WORKSPACE.sources / f"{name}.parquet"
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the prepared source {name!r}. "
            "Run feast-fusion prepare first."
        )
    has_created = "created" in pq.read_schema(path).names
    return FileSource(
        name=name,
        path=str(path),
        timestamp_field="event_timestamp",
        created_timestamp_column="created" if has_created else None,
        description="Written by feast-fusion prepare",
    )


def sink(view: str) -> FileSource:
    """The folder in which the engine keeps the full history of a batch-transformed view."""
    return FileSource(
        name=view,
        path=str(WORKSPACE.sinks / view),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        description="Appended by feast materialize",
    )


items = _prepared("items")
item_stats_rows = _prepared("item_stats")
user_stats_rows = _prepared("user_stats")
user_recent_rows = _prepared("user_recent")
user_snapshots = _prepared("user_snapshots")
user_events = _prepared("user_events")
if DATASET.users is not None:
    users = _prepared("users")

item_vectors = sink(f"item_embedding__{ENCODER.encoder_id}")
user_vectors = sink(f"user_embedding__{ENCODER.encoder_id}")
interest_vectors = sink(f"user_interest__{ENCODER.encoder_id}")

query = RequestSource(name="query", schema=[Field(name="query_text", dtype=String)])
