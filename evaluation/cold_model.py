"""Our model on items that nobody knows yet: fitted without them, asked for them alone."""

from dataclasses import dataclass

import numpy as np

from evaluation.cold_items import ColdQueries
from evaluation.protocol import Scores
from evaluation.recipe import Recipe


@dataclass(frozen=True)
class ColdModel:
    """A scorer of the protocol "cold items": of the held-out items only `recipe.rows` is known."""

    recipe: Recipe
    seed: int = 0

    def __call__(self, queries: ColdQueries) -> Scores:
        """(q, h) logits of being chosen, among the held-out items."""
        ranks = self.recipe.fit(queries.warm, queries.n_fitted, self.seed)
        histories = queries.histories(self.recipe.history)
        found = np.zeros(queries.rankable.shape)
        for scorer, at in ranks.scorers(queries.time):
            allowed = np.zeros((len(at), len(queries.warm.items)), dtype=bool)
            allowed[:, queries.held_out] = queries.rankable[at]
            past = histories.take(at)
            signals = scorer.signals.read(past, allowed)[:, :, queries.held_out]
            found[at] = scorer.choose(signals, past)
        return found
