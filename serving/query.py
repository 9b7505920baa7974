"""A query in words: what it means to the encoder, and which of its words items have."""

import logging
from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.vector_index import Vectors
from transformations.embedder import Embedder

_log = logging.getLogger(__name__)

# Likeness is cut there: nothing is more than so many deviations nearer than the average item.
_LIMIT = 4.0


@dataclass(frozen=True)
class Query:
    """What a request asks for.

    Attributes
    ----------
    text : cleaned by the encoder and the words each in their own way
    vector : (d,), None where the text could not be encoded
    """

    text: str
    vector: Vectors | None

    def likeness(self, catalogue: Catalogue) -> Vectors:
        """(n,) standard deviations by which items are nearer than the average item.

        The larger one of meaning and words: who names a genre gets the genre, who describes what
        no item says in these words gets what means the same.
        """
        words = _standardised(catalogue.words.likeness(self.text))
        index = catalogue.index
        if self.vector is None or not index.present.any():
            return words
        cosines = index.vectors @ self.vector
        meaning = index.moments.standardise(self.vector, cosines).clip(-_LIMIT, _LIMIT)
        found: Vectors = np.maximum(words, np.where(index.present, meaning, np.float32(0.0)))
        return found


def read_query(embedder: Embedder, text: str | None) -> Query | None:
    """The query of a text; None of a text without a word. An encoder that fails is no error."""
    if text is None or not text.strip():
        return None
    try:
        vectors, present = embedder.queries([text])
    except Exception as error:  # whatever a model can raise: the answer goes on without it
        _log.warning("query: not encoded: %s", type(error).__name__)
        return Query(text, None)
    return Query(text, vectors[0]) if present[0] else None


def _standardised(likeness: Vectors) -> Vectors:
    """Deviations from the mean of all items; an item without a word of the query has at most 0."""
    spread = float(likeness.std())
    if spread < 1e-6:
        return np.zeros_like(likeness)
    found: Vectors = ((likeness - likeness.mean()) / spread).clip(0.0, _LIMIT)
    return found
