"""The transformations that batch feature views declare: rows in, rows with vectors out.

Each takes the window's rows and the literals of its declaration (data set, home, encoder id), and
is row-wise: an output row depends on its input row and on the prepared sources, never on the batch.
A vector is computed once per distinct text, because all of them go through the vector cache.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import describe_encoder, load_encoder
from feast_fusion.encoding.vector_cache import VectorCache
from feast_fusion.errors import EncoderMismatchError, SchemaError
from intake.dataset import Interest
from intake.workspace import Workspace, open_workspace
from transformations.interest import replay
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.schema import CAUSED_AFTER_US
from transformations.text import clean, render_behaviours, render_items

if TYPE_CHECKING:
    from feast_fusion.encoding.encoder import TextEncoder

Vectors = NDArray[np.float32]


def embed_items(frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str) -> pd.DataFrame:
    """Item versions with the embedding of their text; null where the text is empty.

    Raises
    ------
    EncoderMismatchError
        The data set's encoder is no longer the declared one.
    """
    embedder = _embedder(dataset, home, encoder_id)
    texts = embedder.render_items(pa.Table.from_pandas(frame, preserve_index=False))
    return _with_vectors(frame, "item_id", "item_embedding", *embedder.embed(texts))


def embed_behaviour(
    frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str
) -> pd.DataFrame:
    """Snapshots with the embedding of the behaviour text; null where nothing was rated."""
    embedder = _embedder(dataset, home, encoder_id)
    texts = embedder.render_behaviours(list(frame["liked"]), list(frame["disliked"]))
    return _with_vectors(frame, "user_id", "user_embedding", *embedder.embed(texts))


def track_interest(
    frame: pd.DataFrame, *, dataset: str, home: str, encoder_id: str
) -> pd.DataFrame:
    """Instants of users with the interest after them, replayed from each user's first event.

    Null as long as no item of the user had a vector.
    """
    embedder = _embedder(dataset, home, encoder_id)
    rows = pl.from_pandas(frame[["user_id", "event_timestamp"]]).with_columns(
        pl.col("event_timestamp").dt.cast_time_unit("us")
    )
    instants, states, known = _replay_users(embedder, rows["user_id"].unique())
    chosen = rows.join(
        instants, on=["user_id", "event_timestamp"], how="left", maintain_order="left"
    )["state"]
    if chosen.null_count():
        raise SchemaError(
            f"{dataset}: got {chosen.null_count()} instants that user_events.parquet does not "
            "have, expected the rows of that file. Run feast-fusion prepare, then feast apply."
        )
    at = chosen.to_numpy()
    return _with_vectors(frame, "user_id", "user_interest", states[at], known[at])


def load_item_vectors(
    workspace: Workspace, encoder_id: str
) -> tuple[ItemVersions, Vectors, NDArray[np.bool_]]:
    """The prepared item versions, their vectors (v, d) and which have one: what interest reads.

    Raises
    ------
    EncoderMismatchError
        The data set's encoder is no longer the declared one.
    """
    embedder = _embedder(str(workspace.dataset.path), str(workspace.home), encoder_id)
    return _current_vectors(embedder)


class Embedder:
    """Text to vector for one declared encoder: cache first, the model only for what is new."""

    def __init__(self, workspace: Workspace, encoder_id: str) -> None:
        encoder = workspace.dataset.encoder
        self.workspace = workspace
        identity = describe_encoder(encoder.model, **encoder.options)
        if identity.encoder_id != encoder_id:
            raise EncoderMismatchError(
                f"{workspace.dataset.path}: got encoder {identity.encoder_id}, expected "
                f"{encoder_id}, for which the view was declared. Run feast apply to declare views "
                "of the new encoder, then feast materialize."
            )
        self.dimension = identity.dimension
        self.cache = VectorCache(workspace.vectors, encoder_id, identity.dimension)
        self._encoder: TextEncoder | None = None

    @property
    def encoder(self) -> "TextEncoder":
        """The model, loaded at the first use."""
        if self._encoder is None:
            encoder = self.workspace.dataset.encoder
            self._encoder = load_encoder(encoder.model, **encoder.options)
        return self._encoder

    def embed(self, texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
        """(n, d) vectors and (n,) whether there is one; an empty text has none."""
        present = np.array([bool(text) for text in texts], dtype=bool)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if present.any():
            vectors[present] = self.cache.encode(
                [text for text in texts if text], lambda missing: self.encoder.encode(missing)
            )
        return vectors, present

    def render_items(self, table: pa.Table) -> list[str]:
        """The cleaned text of each item version."""
        dataset = self.workspace.dataset
        return [clean(text, dataset.cleaning) for text in render_items(dataset.items.text, table)]

    def render_behaviours(
        self, liked: Sequence[Sequence[str]], disliked: Sequence[Sequence[str]]
    ) -> list[str]:
        """The behaviour text of each snapshot, within the token budget of the data set."""
        dataset = self.workspace.dataset
        return render_behaviours(
            [[clean(title, dataset.cleaning) for title in titles] for titles in liked],
            [[clean(title, dataset.cleaning) for title in titles] for titles in disliked],
            max_tokens=min(dataset.activity.behaviour_tokens, dataset.encoder.max_tokens),
            count_tokens=self.encoder.count_tokens,
            n_special_tokens=self.encoder.n_special_tokens,
        )


@lru_cache(maxsize=8)
def _embedder(dataset: str, home: str, encoder_id: str) -> Embedder:
    return Embedder(open_workspace(dataset, home), encoder_id)


def _with_vectors(
    frame: pd.DataFrame, key: str, feature: str, vectors: Vectors, present: NDArray[np.bool_]
) -> pd.DataFrame:
    rows = [vector if known else None for vector, known in zip(vectors, present, strict=True)]
    return frame[[key, "event_timestamp"]].assign(**{feature: pd.Series(rows, index=frame.index)})


def _replay_users(
    embedder: Embedder, users: pl.Series
) -> tuple[pl.DataFrame, Vectors, NDArray[np.bool_]]:
    """(user_id, event_timestamp, state) of every instant of these users, and the states (k, d)."""
    workspace = embedder.workspace
    events = _events_of(workspace.sources / "user_events.parquet", users)
    vectors, present, version_of_event = _vectors_of_events(embedder, events)
    weights, decays = _rules(workspace.dataset.interest, events)
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
    absent = np.zeros(embedder.dimension, dtype=np.float32)
    matrix = np.stack([absent if state is None else state for state in states])
    instants_of_users = events.select("user_id", "event_timestamp").unique(maintain_order=True)
    return instants_of_users.with_row_index("state"), matrix, known


def _rules(
    interest: Interest, events: pl.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n,) weight and (n,) decay of each event."""
    kinds = events.select("positives", "types")
    distinct = kinds.unique()
    rules = [interest.rule(positive == 1, kind) for positive, kind in distinct.iter_rows()]
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
    table = ds.dataset(path).to_table(filter=pc.field("user_id").isin(users.to_arrow()))
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
    versions, vectors, present = _current_vectors(embedder)
    item = versions.ids.codes(events["item_id"].to_arrow())
    time = events["event_timestamp"].dt.epoch("us").to_numpy() - CAUSED_AFTER_US
    return vectors, present, versions.as_of(item, time)


def _current_vectors(embedder: Embedder) -> tuple[ItemVersions, Vectors, NDArray[np.bool_]]:
    path = embedder.workspace.sources / "items.parquet"
    return _item_versions(embedder, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _item_versions(
    embedder: Embedder, path: Path, _changed_ns: int
) -> tuple[ItemVersions, Vectors, NDArray[np.bool_]]:
    versions = build_item_versions(pq.read_table(path))
    return versions, *embedder.embed(embedder.render_items(versions.table))
