"""The transformations that batch feature views declare: rows in, rows with vectors out.

Each takes the window's rows and the literals of its declaration (data set, home, encoder id), and
is row-wise: an output row depends on its input row and on the prepared sources, never on the batch.
All raise EncoderMismatchError where the data set's encoder is no longer the declared one.
"""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.encoding.vector_cache import Vectors
from feast_fusion.errors import SchemaError
from intake.writer_settings import PORTRAIT
from transformations.embedder import open_embedder
from transformations.interest_history import replay_users
from transformations.names import (
    ITEM_EMBEDDING,
    PORTRAIT_EMBEDDING,
    USER_EMBEDDING,
    USER_INTEREST,
)
from transformations.writing import write_portraits


def embed_items(frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str) -> pd.DataFrame:
    """Item versions with the embedding of their text; null where the text is empty."""
    embedder = open_embedder(dataset, home, encoder_id)
    items = pa.Table.from_pandas(frame, preserve_index=False)
    return _with_vectors(frame, "item_id", ITEM_EMBEDDING, *embedder.items(items))


def embed_behaviour(
    frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str
) -> pd.DataFrame:
    """Behaviour snapshots with the embedding of their text; null where nothing was rated.

    A behaviour snapshot is what a user had liked and disliked at an instant.
    """
    embedder = open_embedder(dataset, home, encoder_id)
    embedded = embedder.behaviours(list(frame["liked"]), list(frame["disliked"]))
    return _with_vectors(frame, "user_id", USER_EMBEDDING, *embedded)


def embed_portraits(
    frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str, writer_id: str
) -> pd.DataFrame:
    """Behaviour snapshots with the embedding of the portrait; null where there is none."""
    written = write_portraits(frame, dataset=dataset, home=home, writer_id=writer_id)
    embedder = open_embedder(dataset, home, encoder_id)
    embedded = embedder.portraits(list(written[PORTRAIT]))
    return _with_vectors(frame, "user_id", PORTRAIT_EMBEDDING, *embedded)


def track_interest(
    frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str
) -> pd.DataFrame:
    """Instants of users with the interest after them, replayed from each user's first event.

    Null until the first item of the user that has a vector.

    Raises
    ------
    SchemaError
        An instant is not in the prepared user_events.parquet.
    """
    embedder = open_embedder(dataset, home, encoder_id)
    rows = pl.from_pandas(frame[["user_id", "event_timestamp"]]).with_columns(
        pl.col("event_timestamp").dt.cast_time_unit("us")
    )
    instants, states, known = replay_users(embedder, rows["user_id"].unique())
    chosen = rows.join(
        instants, on=["user_id", "event_timestamp"], how="left", maintain_order="left"
    )["state"]
    if chosen.null_count():
        raise SchemaError(
            f"{dataset}: got {chosen.null_count()} instants that user_events.parquet does not "
            "have, expected the rows of that file. Run feast-fusion prepare, then feast apply."
        )
    at = chosen.to_numpy()
    return _with_vectors(frame, "user_id", USER_INTEREST, states[at], known[at])


def _with_vectors(
    frame: pd.DataFrame, key: str, feature: str, vectors: Vectors, present: NDArray[np.bool_]
) -> pd.DataFrame:
    rows = [vector if known else None for vector, known in zip(vectors, present, strict=True)]
    return frame[[key, "event_timestamp"]].assign(**{feature: pd.Series(rows, index=frame.index)})
