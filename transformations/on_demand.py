"""The transformations that on-demand feature views declare, computed at request time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from transformations.embedder import open_embedder
from transformations.names import ITEM_EMBEDDING, QUERY_EMBEDDING, USER_EMBEDDING, USER_INTEREST

Columns = dict[str, list[Any]]

AFFINITIES = ("behaviour_cosine", "interest_cosine", "query_cosine")


def embed_query(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Request texts to embeddings: `query_text` -> `query_embedding`, each a list of d floats.

    A text that is null, or empty once it is cleaned, has the embedding None.
    """
    embedder, texts = open_embedder(dataset, home, encoder_id), inputs["query_text"]
    vectors, present = embedder.queries(texts)
    rows = zip(vectors.tolist(), present, strict=True)
    return {QUERY_EMBEDDING: [vector if known else None for vector, known in rows]}


def measure_affinity(inputs: Columns, *, dataset: str, home: str, encoder_id: str) -> Columns:
    """Cosines of each item vector with the user's behaviour, interest and query vectors.

    NaN where one of the two vectors is absent.
    """
    items = inputs[ITEM_EMBEDDING]
    queries = embed_query(inputs, dataset=dataset, home=home, encoder_id=encoder_id)
    others = (inputs[USER_EMBEDDING], inputs[USER_INTEREST], queries[QUERY_EMBEDDING])
    cosines = [_cosines(items, vectors) for vectors in others]
    return dict(zip(AFFINITIES, cosines, strict=True))


def _cosines(left: Sequence[Any], right: Sequence[Any]) -> list[float]:
    return [_cosine(a, b) for a, b in zip(left, right, strict=True)]


def _cosine(left: Any, right: Any) -> float:
    if left is None or right is None or len(left) != len(right):
        return float("nan")
    a, b = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 0 else float("nan")
