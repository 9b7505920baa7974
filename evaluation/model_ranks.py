"""Ranks by a next-item model alone, of any log that it was fitted to."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from evaluation.protocol import TOP, Queries, Ranked
from feast_fusion.training_set import TrainingSet
from training.next_item.fit_log import FitLog
from training.next_item.model import NextItemModel, NextItemScorer
from transformations.collaborative.histories import Flags, Floats, Histories, Ints

_AT_ONCE = 256


@dataclass(frozen=True)
class ModelRanks:
    """Ranks by a model that was fitted to a log: candidates by merged signals, then the chooser.

    `serving.past` gives the same from the offline store, as it is served; here the model may be
    fitted to any log, and no other features are read.

    Attributes
    ----------
    rows : the features of the items of the log, by code
    history : newest events of a user that count
    choose : whether the chooser orders the candidates; else they stay as the signals have them
    """

    log: FitLog
    rows: TrainingSet
    history: int
    model: NextItemModel
    choose: bool = True

    def __call__(self, queries: Queries) -> Ranked:
        """Of queries whose users and items have the codes of the log."""
        n, target, all_allowed = len(queries), queries.target, queries.rankable
        all_histories = queries.histories(self.history)
        rank, n_ranked, place = (np.zeros(n, np.int64) for _ in range(3))
        top = np.full((n, TOP), -1)
        for scorer, at in self.scorers(queries.time):
            histories, allowed = all_histories.take(at), all_allowed[at]
            signals = scorer.signals.read(histories, allowed)
            order = scorer.signals.merged_order(signals, allowed)
            place[at] = _place(order, target[at], allowed)
            if self.choose:
                order = self._choose(scorer, order, signals, histories, allowed)
            rank[at], n_ranked[at] = _place(order, target[at], allowed), allowed.sum(axis=1)
            best = np.where(np.arange(TOP) < n_ranked[at][:, None], _first(order), -1)
            top[at] = best
        return Ranked(rank, n_ranked, top, place)

    def scorers(self, times: Ints) -> Iterator[tuple[NextItemScorer, Ints]]:
        """For each version of the item models, which of the instants (us) it was the newest at."""
        log, scorer = self.log, None
        places = log.places(times)
        for place in np.unique(places).tolist():
            version = log.version(place)
            scorer = (
                scorer.at(version)
                if scorer is not None
                else self.model.on(log.events.items, self.rows, version)
            )
            of_version = np.flatnonzero(places == place)
            for start in range(0, len(of_version), _AT_ONCE):
                yield scorer, of_version[start : start + _AT_ONCE]

    def _choose(
        self,
        scorer: NextItemScorer,
        order: Ints,
        signals: Floats,
        histories: Histories,
        allowed: Flags,
    ) -> Ints:
        """(q, i) the order with its first places as the chooser has them."""
        first = order[:, : self.model.config.depth]
        taken = np.take_along_axis(signals, first[:, None, :], axis=2)
        logits = scorer.choose(taken, histories)
        logits = np.where(np.take_along_axis(allowed, first, axis=1), logits, -np.inf)
        best = np.argsort(-logits, axis=1, kind="stable")
        chosen = np.take_along_axis(first, best, axis=1)
        return np.concatenate([chosen, order[:, first.shape[1] :]], axis=1)


def _place(order: Ints, target: Ints, allowed: Flags) -> Ints:
    """(q,) the place of each target from 1, 0 where it is not allowed."""
    found = 1 + (order == target[:, None]).argmax(axis=1)
    return np.where(allowed[np.arange(len(target)), target], found, 0)


def _first(order: Ints) -> Ints:
    """(q, 10) the first places, -1 where there are fewer."""
    return np.pad(order[:, :TOP], ((0, 0), (0, max(0, TOP - order.shape[1]))), constant_values=-1)
