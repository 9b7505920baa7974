"""The recommender's own answers at instants of the past, as ranks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from evaluation.protocol import TOP, Queries, Ranked, Tied
from serving.past import PastAnswer, PastRecommender
from serving.vector_index import Rows
from transformations.collaborative.histories import Ints

Tell = Callable[[PastAnswer, int], None]


@dataclass(frozen=True)
class PastRanks:
    """Asks a recommender as of the instant of each query; what it answers is what is measured.

    Attributes
    ----------
    new_only : leave out what the user had touched before: for a service that may repeat items,
        asked for new ones alone
    told : take in every answer, and the place of the chosen item among those ranked, from 0; -1
        where it is not among them
    """

    recommender: PastRecommender
    new_only: bool = False
    told: Sequence[Tell] = ()

    def __call__(self, queries: Queries) -> Ranked:
        """Where the chosen items stand; a place counts from 1, 0 is absent."""
        requests = queries.table().drop(["item_id"])
        contexts = self.recommender.contexts(queries.rows)
        for name, column in zip(contexts.column_names, contexts.columns, strict=True):
            requests = requests.append_column(name, column)
        found = _Places(queries, self.new_only)
        for answer in self.recommender.answers(requests, TOP):
            found.take(answer)
            row = answer.catalogue.items.code(queries.target_id(answer.number))
            place = np.flatnonzero(answer.order[: len(answer.liked)] == row)
            for tell in self.told:
                tell(answer, int(place[0]) if len(place) else -1)
        return Ranked(found.rank, found.n_ranked, found.top, found.candidate, found.told())


@dataclass
class _Places:
    """Filled in answer by answer, in whatever order they come."""

    queries: Queries
    new_only: bool
    rank: Ints = field(init=False)
    n_ranked: Ints = field(init=False)
    candidate: Ints = field(init=False)
    top: Ints = field(init=False)
    sources: dict[str, Tied] = field(default_factory=dict)
    speaking: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        n = len(self.queries)
        self.rank, self.n_ranked, self.candidate = (np.zeros(n, np.int64) for _ in range(3))
        self.top = np.full((n, TOP), -1)

    def take(self, answer: PastAnswer) -> None:
        at, catalogue = answer.number, answer.catalogue
        items = self.queries.events.items
        codes = items.codes(catalogue.items.ids)  # by catalogue row
        target = int(self.queries.target[at])
        wanted = np.ones(len(codes), dtype=bool)
        if self.new_only:
            wanted = self.queries.rankable[at][codes]
        order, candidates = (rows[wanted[rows]] for rows in (answer.order, answer.candidates))
        row = np.flatnonzero(codes == target)
        self.rank[at] = _place(order, row)
        self.candidate[at] = _place(candidates, row)
        self.n_ranked[at] = len(order)
        best = codes[order[:TOP]]
        self.top[at, : len(best)] = best
        self._take_sources(answer, candidates, row)

    def _take_sources(self, answer: PastAnswer, candidates: Rows, row: Rows) -> None:
        names, n = answer.catalogue.scorer.names, len(self.queries)
        for name, scores, speaks in zip(names, answer.signals, answer.speaking, strict=True):
            places = self.sources.setdefault(name, Tied(np.zeros(n, int), np.zeros(n, int)))
            places.first[answer.number], places.last[answer.number] = _tied(scores, candidates, row)
            if speaks and np.ptp(scores[candidates]) > 0:
                self.speaking.add(name)

    def told(self) -> dict[str, Tied]:
        """The sources that say something."""
        return {name: each for name, each in self.sources.items() if name in self.speaking}


def _place(rows: Rows, row: Rows) -> int:
    found = np.flatnonzero(rows == row) if len(row) else row
    return int(found[0]) + 1 if len(found) else 0


def _tied(scores: np.ndarray, among: Rows, row: Rows) -> tuple[int, int]:
    """The first and the last place that a row may have among others by falling score."""
    if not len(row) or row[0] not in among:
        return 0, 0
    own, others = scores[row[0]], scores[among]
    n_before = int((others > own).sum())
    return n_before + 1, n_before + int((others == own).sum())
