"""A text column as an embedding with its full history, in a Feast repository without a recommender.

    pip install 'feast-fusion[encoder]'
    cd examples/embedding                      with a Redis on localhost:6379
    python notes.py write                      data/notes.parquet: four versions of three notes
    feast apply
    feast materialize 2024-01-01T00:00:00 2024-12-31T00:00:00
    python notes.py read                       the newest vectors from Redis, the old from history

What turns the column into vectors is the function `embed`: five lines. Feast keeps its source text
in the registry, so it imports what it needs itself. A text is encoded once, however often the
window is materialised: data/vectors keeps its vector under the encoder and the text.
"""

import inspect
from datetime import timedelta

from feast import BatchFeatureView, Entity, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, String

note = Entity(name="note", join_keys=["note_id"], value_type=ValueType.STRING)
note_text = FeatureView(
    name="note_text",
    entities=[note],
    source=FileSource(path="data/notes.parquet", timestamp_field="event_timestamp"),
    schema=[Field(name="text", dtype=String)],
    ttl=timedelta(0),
    online=False,
)


def embed(notes):
    """The notes with the embedding of their text."""
    from feast_fusion import embed_column

    model = "sentence-transformers/all-MiniLM-L6-v2"
    return embed_column(notes, "text", into="embedding", model=model, cache="data/vectors")


note_embedding = BatchFeatureView(
    name="note_embedding",
    entities=[note],
    source=[note_text],
    sink_source=FileSource(
        name="note_embedding_history",
        path="data/note_embedding",
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
    ),
    schema=[Field(name="embedding", dtype=Array(Float32), vector_index=True, vector_length=384)],
    mode="pandas",
    udf=embed,
    udf_string=inspect.getsource(embed),
    ttl=timedelta(0),
    online=True,
    offline=True,
)
