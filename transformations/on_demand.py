"""The transformations that on-demand feature views declare, computed at request time."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from feast_fusion.encoding.encoder import describe_encoder
from intake.workspace import open_workspace
from transformations.embedding import Embedder

Columns = dict[str, list[Any]]

_declaring = False


def declare_only() -> None:
    """From now on this process only declares views: dummy requests get a constant, no model."""
    global _declaring
    _declaring = True


def embed_query(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Request texts to embeddings: `query_text` -> `query_embedding`, each a list of d floats.

    An empty or null text has the embedding None.
    """
    texts = inputs["query_text"]
    if _declaring:
        encoder = open_workspace(dataset, home).dataset.encoder
        dimension = describe_encoder(encoder.model, **encoder.options).dimension
        return {"query_embedding": [[0.0] * dimension for _ in texts]}
    return {"query_embedding": [_embed(text, dataset, home, encoder_id) for text in texts]}


def measure_affinity(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Cosines of each item vector with the user's behaviour, interest and query vectors.

    NaN where one of the two vectors is absent.
    """
    items = inputs["item_embedding"]
    queries = embed_query(inputs, dataset=dataset, home=home, encoder_id=encoder_id)
    return {
        "behaviour_cosine": _cosines(items, inputs["user_embedding"]),
        "interest_cosine": _cosines(items, inputs["user_interest"]),
        "query_cosine": _cosines(items, queries["query_embedding"]),
    }


def _cosines(left: Sequence[Any], right: Sequence[Any]) -> list[float]:
    return [_cosine(a, b) for a, b in zip(left, right, strict=True)]


def _cosine(left: Any, right: Any) -> float:
    if left is None or right is None or len(left) != len(right):
        return float("nan")
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else float("nan")


@lru_cache(maxsize=10_000)
def _embed(text: str | None, dataset: str, home: str, encoder_id: str) -> list[float] | None:
    """One request text. Kept in memory only: requests are unbounded and must not fill the disk."""
    if not text:
        return None
    vector = _query_embedder(dataset, home, encoder_id).encoder.encode([text])[0]
    return [float(value) for value in vector]


@lru_cache(maxsize=4)
def _query_embedder(dataset: str, home: str, encoder_id: str) -> Embedder:
    return Embedder(open_workspace(dataset, home), encoder_id)
