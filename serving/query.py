"""A query in words: what it wants, what it refuses, and how near each item comes to both."""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from serving.answers import Understood
from serving.catalogue import Catalogue
from serving.vector_index import VectorIndex, Vectors
from serving.wishes.clauses import Clause, split_clauses
from serving.wishes.item_values import Value
from serving.wishes.reading import Reading, read_clause
from serving.wishes.wish import Wish
from serving.wishes.wording import Wording
from transformations.embedder import Embedder

_log = logging.getLogger(__name__)

# For the encoder to take up a text: behind others, its words alone have to do.
_WAIT_S = 0.5
_MOST_CLAUSES, _MOST_TEXTS = 8, 16  # of one query: read, and encoded


@dataclass(frozen=True)
class Query:
    """What a request asks for.

    Attributes
    ----------
    likeness : (n,) by row of the catalogue that it was read for, in deviations of what speaks for
        the candidates of a request
    understood : the values that it names or means, each once
    is_whole : False where it was not encoded, so that only its words count
    """

    likeness: Vectors
    understood: tuple[Understood, ...]
    is_whole: bool

    @classmethod
    def of(cls, wishes: Sequence[Wish], catalogue: Catalogue, *, is_whole: bool) -> "Query":
        """What is wanted less what is refused: who has something refused gains by no name."""
        named, refused, told = np.zeros((3, len(catalogue)), dtype=np.float32)
        for wish in wishes:
            if wish.clause.sense == "wanted":
                named += wish.named(catalogue)
                told += wish.told(catalogue)
            else:
                refused += wish.named(catalogue)
                told -= wish.told(catalogue)
        likeness = np.where(refused > 0, np.float32(0.0), named) - refused + told
        understood = [each for wish in wishes for each in wish.understood(catalogue)]
        return cls(likeness, tuple(dict.fromkeys(understood)), is_whole)


def read_query(
    catalogue: Catalogue, embedder: Embedder, text: str | None, *, is_encoded: bool = True
) -> Query | None:
    """The query of a text; None of a text without a word. An encoder that fails is no error.

    Parameters
    ----------
    embedder : of the catalogue's vectors
    is_encoded : False where there is no time for it
    """
    clauses = split_clauses(*embedder.cleaned([text or ""]))[:_MOST_CLAUSES]
    if not clauses:
        return None
    readings, spared = _read(clauses, catalogue.wording)
    try:
        vectors = _encode(embedder, clauses, readings) if is_encoded else {}
        meant = [_meant(reading, vectors, catalogue, embedder, spared) for reading in readings]
    except Exception as error:  # whatever a model can raise: the answer goes on without it
        _log.warning("query: not encoded: %s", type(error).__name__)
        vectors, meant = {}, [()] * len(clauses)
    nearness = _nearness(catalogue.index, [vectors.get(clause.text) for clause in clauses])
    wishes = [Wish(*parts) for parts in zip(clauses, readings, nearness, meant, strict=True)]
    return Query.of(wishes, catalogue, is_whole=bool(vectors))


def _read(clauses: Sequence[Clause], wording: Wording) -> tuple[list[Reading], Set[Value]]:
    """The readings, and the values that are wanted by name: who wants them refuses them by none.

    "Horror, but nothing violent" wants horror.
    """
    readings: list[Reading] = []
    named: set[Value] = set()
    for clause in clauses:  # what is wanted comes first
        readings.append(read_clause(clause.text, wording, named))
        mentions = readings[-1].mentions if clause.sense == "wanted" else ()
        named.update(value for mention in mentions for value in mention.values)
    return readings, named


def _encode(
    embedder: Embedder, clauses: Sequence[Clause], readings: Sequence[Reading]
) -> Mapping[str, Vectors]:
    """The vectors of the clauses, and of their runs of words that may mean something."""
    runs = [run for reading in readings for run in reading.runs]
    texts = list(dict.fromkeys([*(clause.text for clause in clauses), *runs]))[:_MOST_TEXTS]
    vectors, present = embedder.queries(texts, _WAIT_S)
    return {text: vectors[at] for at, text in enumerate(texts) if present[at]}


def _nearness(index: VectorIndex, vectors: Sequence[Vectors | None]) -> list[Vectors | None]:
    """By vector (n,) see `Wish.nearness`: one pass over the matrix, which is most of the cost."""
    known = [vector for vector in vectors if vector is not None]
    if not known or not index.present.any():
        return [None] * len(vectors)
    cosines = iter((index.vectors @ np.stack(known).T).T)
    return [
        None if vector is None else index.moments.standardise(vector, next(cosines)) * index.present
        for vector in vectors
    ]


def _meant(
    reading: Reading,
    vectors: Mapping[str, Vectors],
    catalogue: Catalogue,
    embedder: Embedder,
    spared: Set[Value],
) -> tuple[tuple[int, ...], ...]:
    """By run of words that means values: which of those that are not wanted by name anyway."""
    known = [vectors[run] for run in reading.runs if run in vectors]
    if not known or not catalogue.index.present.any():
        return ()
    meanings, values = catalogue.meanings(embedder), catalogue.wording.values.values
    found = [
        tuple(code for code in meanings.near(vector) if values[code] not in spared)
        for vector in known
    ]
    return tuple(dict.fromkeys(codes for codes in found if codes))
