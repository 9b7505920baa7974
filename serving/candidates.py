"""Which items are worth ranking: those that signals speak for, that a query asks for, new ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from feast_fusion.training_set import TrainingSet
from serving.catalogue import Catalogue, Collaborator
from serving.vector_index import Rows, Vectors
from training.next_item.signals import speaking_signals
from transformations.collaborative.histories import Histories

POPULAR, QUERY, FRESH = "popular", "query", "fresh"
# Of the candidates, at most this share is named by the query alone, and this share is new.
QUERY_SHARE, FRESH_SHARE = 0.5, 0.02
# A source has named a candidate that is among its first so many candidates.
NAMED = 50


@dataclass(frozen=True)
class Candidates:
    """m distinct items to be ranked for one user.

    Attributes
    ----------
    item_ids : m ids
    rows : (m,) their catalogue rows, -1 for an item that the catalogue does not have
    history : of the user, None where it is not known
    recent : the newest events of it, as many as the scorer reads
    user : as other people's answers tell of the user, None without a history
    signals : (f, m) what speaks for each, see `training.next_item.model`; zeros without a history
    speaking : (f,) which signals say something of this user, see `speaking_signals`
    query : (m,) how near each is to the query, see `Query.likeness`; None without a query
    is_named : whether a caller named them, so that no source did
    """

    item_ids: Sequence[str]
    rows: Rows
    history: Histories | None
    recent: Histories | None
    user: Collaborator | None
    signals: Vectors
    speaking: NDArray[np.bool_]
    query: Vectors | None
    is_named: bool

    def __len__(self) -> int:
        return len(self.item_ids)

    def sources(self, catalogue: Catalogue, at: int) -> tuple[str, ...]:
        """What speaks for the candidate at this place: signals, the query, and that it is new."""
        if self.is_named:
            return ()
        names = catalogue.scorer.names
        found = [name for name, place in zip(names, self._places[:, at], strict=True) if place]
        if self.history is None:
            found = [POPULAR]
        elif not found:  # the strongest of what speaks for it only a little
            found = [names[int(np.where(self.speaking, self.signals[:, at], -np.inf).argmax())]]
        if self.query is not None and self.query[at] >= np.sort(self.query)[-NAMED:][0]:
            found.append(QUERY)
        row = self.rows[at]
        if row >= 0 and not catalogue.acted_on[row]:
            found.append(FRESH)
        return tuple(found)

    @cached_property
    def _places(self) -> NDArray[np.bool_]:
        """(f, m) whether a candidate is among the first `NAMED` of a signal, and above average.

        A signal that says nothing of the user names none.
        """
        n = min(NAMED, self.signals.shape[1])
        if not n:
            return np.zeros(self.signals.shape, dtype=bool)
        last = -np.partition(-self.signals, n - 1, axis=1)[:, n - 1 : n]
        named: NDArray[np.bool_] = (self.signals >= last) & (self.signals > 0)
        named &= self.speaking[:, None]
        return named


@dataclass(frozen=True)
class Search:
    """What one request looks for in a catalogue.

    Attributes
    ----------
    history : of the one user, None where it is not known: then popularity alone speaks
    recent : the newest events of it, as many as the scorer reads
    user : as other people's answers tell of the user, None without a history
    signals : (f, n) what speaks for each row, by the names of the catalogue's scorer; standardised
        among the rows that are not excluded, so that a filter changes no score
    passing : (n,) the rows that may come back
    query : (n,) how near each row is to the query, None without one
    """

    catalogue: Catalogue
    history: Histories | None
    recent: Histories | None
    user: Collaborator | None
    signals: Vectors
    passing: NDArray[np.bool_]
    query: Vectors | None

    @classmethod
    def of(
        cls,
        catalogue: Catalogue,
        user: TrainingSet | None,
        excluded: Iterable[Rows | tuple[()]],
        query: Vectors | None,
        passing: NDArray[np.bool_] | None = None,
    ) -> "Search":
        """The search for a user.

        Parameters
        ----------
        user : one row with the user's features, None where they are not known
        excluded : catalogue rows that must not come back
        passing : (n,) catalogue rows that may, None for all; see `Catalogue.passing`
        """
        if user is not None:
            return cls.of_each(catalogue, user, [excluded], query, passing)[0]
        allowed = _allowed(catalogue, excluded)
        passing = allowed if passing is None else allowed & passing
        nothing = np.zeros((len(catalogue.scorer.names), len(catalogue)), np.float32)
        return cls(catalogue, None, None, None, nothing, passing, query)

    @classmethod
    def of_each(
        cls,
        catalogue: Catalogue,
        users: TrainingSet,
        excluded: Sequence[Iterable[Rows | tuple[()]]],
        query: Vectors | None,
        passing: NDArray[np.bool_] | None = None,
    ) -> list["Search"]:
        """The searches for q users by a row of features each, what speaks for them read at once.

        Of the other parameters `excluded` alone is that of each user.
        """
        histories, scorer = Histories.of(users, catalogue.items), catalogue.scorer
        recent = histories.newest(scorer.history)
        allowed = np.stack([_allowed(catalogue, rows) for rows in excluded])  # (q, n)
        passing_each = allowed if passing is None else allowed & passing
        signals = scorer.signals.read(recent, allowed)  # (q, f, n)
        searches = []
        for place, user in enumerate(catalogue.collaborators(histories)):
            history, newest = (each.alone(place) for each in (histories, recent))
            found = (signals[place], passing_each[place], query)
            searches.append(cls(catalogue, history, newest, user, *found))
        return searches

    def best(self, n: int) -> Candidates:
        """At most `n` passing items, those that the signals speak for first."""
        passing = np.flatnonzero(self.passing)
        n = min(n, len(passing))
        first = passing[_top(self._merged[passing], n)]
        reserved = [self._fresh(int(np.ceil(n * FRESH_SHARE)))]
        if self.query is not None:
            reserved.append(passing[_top(self._wished[passing], int(n * QUERY_SHARE))])
        kept = np.unique(np.concatenate(reserved))
        rows = np.concatenate([first[~np.isin(first, kept)][: n - len(kept)], kept])
        rows = rows[np.argsort(-self._merged[rows], kind="stable")]
        item_ids = [self.catalogue.item_ids[row] for row in rows.tolist()]
        return self._candidates(item_ids, rows, is_named=False)

    def popular(self, n: int) -> Candidates:
        """At most `n` passing items, those that the query asks for, then the most popular first.

        It is what costs least.
        """
        rows = np.flatnonzero(self.passing)  # the catalogue is in the order of popularity
        rows = rows[:n] if self.query is None else rows[_top(self.query[rows], n)]
        item_ids = [self.catalogue.item_ids[row] for row in rows.tolist()]
        return self._candidates(item_ids, rows, is_named=False)

    def named(self, item_ids: Iterable[str]) -> Candidates:
        """The items that a caller names, each once, whether they pass or not."""
        distinct = list(dict.fromkeys(item_ids))
        codes = self.catalogue.items.codes(distinct)
        return self._candidates(distinct, codes, is_named=True)

    def order(self) -> Rows:
        """(k,) all passing rows by the merged signals, best first."""
        passing = np.flatnonzero(self.passing)
        return passing[np.argsort(-self._merged[passing], kind="stable")]

    def _candidates(self, item_ids: Sequence[str], rows: Rows, *, is_named: bool) -> Candidates:
        known = np.where(rows >= 0, rows, 0)
        missing = rows < 0
        if self.recent is None:
            signals = np.zeros((len(self.catalogue.scorer.names), len(rows)), np.float32)
        else:
            signals = np.where(missing, np.float32(0.0), self.signals[:, known])
        query = None if self.query is None else np.where(missing, 0.0, self.query[known])
        return Candidates(
            item_ids,
            rows,
            self.history,
            self.recent,
            self.user,
            signals,
            self._speaking,
            query,
            is_named,
        )

    def _fresh(self, n: int) -> Rows:
        fresh = self.catalogue.fresh
        return fresh[self.passing[fresh]][:n]

    @cached_property
    def _speaking(self) -> NDArray[np.bool_]:
        """(f,) which of the signals say something of the user."""
        names = self.catalogue.scorer.names
        if self.recent is None:
            return np.zeros(len(names), dtype=bool)
        has_negatives = self.catalogue.interactions.explicit
        return speaking_signals(names, self.recent, has_negatives=has_negatives)

    @cached_property
    def _wished(self) -> Vectors:
        """(n,) the query and what is merged, on the scale on which a `Ranking` adds them."""
        spread = float(self._merged.std()) if len(self._merged) else 1.0
        assert self.query is not None  # or nothing is wished
        wished: Vectors = self.query + self._merged / np.float32(max(spread, 1e-6))
        return wished

    @cached_property
    def _merged(self) -> Vectors:
        """(n,) what is merged, ties by popularity."""
        popular = self.catalogue.popularity * np.float32(1e-3)
        merged: Vectors = self.catalogue.scorer.signals.merge(self.signals[None])[0] + popular
        return merged


def _allowed(catalogue: Catalogue, excluded: Iterable[Rows | tuple[()]]) -> NDArray[np.bool_]:
    """(n,) the catalogue rows that are not excluded."""
    allowed = np.ones(len(catalogue), dtype=bool)
    for rows in excluded:
        allowed[np.asarray(rows, dtype=np.int64)] = False
    return allowed


def _top(scores: Vectors, n: int) -> Rows:
    """(n,) places of the highest scores, the highest first; of equal scores the first place."""
    if n < len(scores):
        cut = np.partition(scores, len(scores) - n)[len(scores) - n] if n else np.inf
        above, at = np.flatnonzero(scores > cut), np.flatnonzero(scores == cut)
        places = np.concatenate([above, at[: n - len(above)]])
        places.sort()
    else:
        places = np.arange(len(scores))
    order: Rows = places[np.argsort(-scores[places], kind="stable")]
    return order
