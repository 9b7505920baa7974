"""The transformations that on-demand feature views declare, computed at request time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from transformations.embedder import open_embedder
from transformations.names import ITEM_EMBEDDING, QUERY_EMBEDDING, USER_EMBEDDING, USER_INTEREST

Columns = dict[str, list[Any]]

_declaring = False


def declare_only() -> None:
    """From now on this process only declares views: dummy requests get a constant, no model."""
    global _declaring
    _declaring = True


def embed_query(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Request texts to embeddings: `query_text` -> `query_embedding`, each a list of d floats.

    A text that is null, or empty once it is cleaned, has the embedding None.
    """
    embedder, texts = open_embedder(dataset, home, encoder_id), inputs["query_text"]
    if _declaring:
        return {QUERY_EMBEDDING: [[0.0] * embedder.identity.dimension for _ in texts]}
    vectors, present = embedder.queries(texts)
    rows = zip(vectors.tolist(), present, strict=True)
    return {QUERY_EMBEDDING: [vector if known else None for vector, known in rows]}


def measure_affinity(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Cosines of each item vector with the user's behaviour, interest and query vectors.

    NaN where one of the two vectors is absent.
    """
    items = inputs[ITEM_EMBEDDING]
    queries = embed_query(inputs, dataset=dataset, home=home, encoder_id=encoder_id)
    return {
        "behaviour_cosine": _cosines(items, inputs[USER_EMBEDDING]),
        "interest_cosine": _cosines(items, inputs[USER_INTEREST]),
        "query_cosine": _cosines(items, queries[QUERY_EMBEDDING]),
    }


def _cosines(left: Sequence[Any], right: Sequence[Any]) -> list[float]:
    return [_cosine(a, b) for a, b in zip(left, right, strict=True)]


def _cosine(left: Any, right: Any) -> float:
    if left is None or right is None or len(left) != len(right):
        return float("nan")
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else float("nan")
