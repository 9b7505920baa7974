"""The nearest items to an item or to a text."""

import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import FeatureNotFoundError, schema_error
from serving.answers import SimilarItem
from serving.catalogue import Catalogue
from serving.vector_index import Vectors
from transformations.embedder import Embedder


def find_similar(
    catalogue: Catalogue,
    embedder: Embedder,
    item_id: str | None,
    text: str | None,
    n: int,
    passing: NDArray[np.bool_] | None,
) -> list[SimilarItem]:
    """At most `n`, nearest first; an item is not near to itself. See `Recommender.similar`.

    Parameters
    ----------
    passing : (n,) catalogue rows that may come back, None for all
    """
    if item_id is not None and text is None:
        vector = _require_vector(catalogue, item_id)
    elif text is not None and item_id is None:
        vector = _encode_query(embedder, text)
    else:
        raise schema_error(
            "similar",
            got="neither an item_id nor a text" if item_id is None else "both",
            expected="an item_id or a text",
            remedy="Give one of them.",
        )
    rows, cosines = catalogue.index.nearest(vector, n + 1, passing)
    found = [
        SimilarItem(catalogue.item_ids[row], catalogue.titles[row], float(cosine))
        for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
    ]
    return [item for item in found if item.item_id != item_id][:n]


def _encode_query(embedder: Embedder, text: str) -> Vectors:
    vectors, present = embedder.queries([text])
    if not present[0]:
        raise FeatureNotFoundError(
            "text: got one that is empty without markup and invisible characters, expected words. "
            "Give a text to look for."
        )
    vector: Vectors = vectors[0]
    return vector


def _require_vector(catalogue: Catalogue, item_id: str) -> Vectors:
    vector = catalogue.vector(item_id)
    if vector is not None:
        return vector
    found = "an item without a vector" if item_id in catalogue.items else "no such item"
    raise FeatureNotFoundError(
        f"item {item_id!r}: got {found}, expected one with a vector. Give a text instead, or add "
        "the item's text and run feast-fusion prepare, then feast materialize-incremental."
    )
