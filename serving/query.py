"""A query in words: what is asked for, what is refused, and how near each item comes."""

import logging
import re
from dataclasses import dataclass

import numpy as np

from serving.catalogue import Catalogue
from serving.vector_index import Vectors
from transformations.embedder import Embedder

_log = logging.getLogger(__name__)

# Likeness is cut there: nothing is more than so many deviations nearer than the average item.
_LIMIT = 4.0
# For the encoder to take up a text: behind others, its words alone have to do.
_WAIT_S = 0.5
# "not violent", "without robots, please": refused up to the next comma or stop. An encoder of
# sentences does not read the "not".
_REFUSED = re.compile(r"\b(?:not|no|without)\s+([^,.;]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """One text that items are like or unlike.

    Attributes
    ----------
    vector : (d,), None where the text could not be encoded
    """

    text: str
    vector: Vectors | None

    def likeness(self, catalogue: Catalogue) -> Vectors:
        """(n,) deviations by which items are nearer than the average item: words and meaning.

        Who names a genre gets the genre, who describes what no item says in these words gets what
        means the same.
        """
        words = _standardised(catalogue.words.likeness(self.text))
        index = catalogue.index
        if self.vector is None or not index.present.any():
            return words
        cosines = index.vectors @ self.vector
        meaning = index.moments.standardise(self.vector, cosines).clip(-_LIMIT, _LIMIT)
        found: Vectors = words + np.where(index.present, meaning, np.float32(0.0))
        return found


@dataclass(frozen=True)
class Query:
    """What a request asks for, and what it refuses.

    Attributes
    ----------
    is_whole : False where a text could not be encoded, so that only its words count
    """

    asked: tuple[Wish, ...]
    refused: tuple[Wish, ...]
    is_whole: bool

    def likeness(self, catalogue: Catalogue) -> Vectors:
        """(n,) what is asked for less what is refused, see `Wish.likeness`."""
        found = np.zeros(len(catalogue), dtype=np.float32)
        for wish in self.asked:
            found = found + wish.likeness(catalogue)
        for wish in self.refused:
            found = found - wish.likeness(catalogue)
        return found


def read_query(embedder: Embedder, text: str | None) -> Query | None:
    """The query of a text; None of a text without a word. An encoder that fails is no error."""
    if text is None or not text.strip():
        return None
    refused = [found.strip() for found in _REFUSED.findall(text)]
    rest = _REFUSED.sub(" ", text).strip(" ,.;")
    texts = [*([rest] if rest else []), *refused]
    try:
        vectors, present = embedder.queries(texts, _WAIT_S)
    except Exception as error:  # whatever a model can raise: the answer goes on without it
        _log.warning("query: not encoded: %s", type(error).__name__)
        wishes = [Wish(each, None) for each in texts]
    else:
        if not present.any():
            return None
        found = zip(texts, vectors, present, strict=True)
        wishes = [Wish(each, vector if is_there else None) for each, vector, is_there in found]
    n_asked = len(texts) - len(refused)
    is_whole = all(wish.vector is not None for wish in wishes)
    return Query(tuple(wishes[:n_asked]), tuple(wishes[n_asked:]), is_whole)


def _standardised(likeness: Vectors) -> Vectors:
    """Deviations from the mean of all items; an item without a word of the query has at most 0."""
    spread = float(likeness.std())
    if spread < 1e-6:
        return np.zeros_like(likeness)
    found: Vectors = ((likeness - likeness.mean()) / spread).clip(0.0, _LIMIT)
    return found
