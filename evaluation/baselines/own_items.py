"""The user's own items: what somebody bought before is bought again."""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from evaluation.baselines.liked import liked_before, tie_breaks
from evaluation.protocol import Queries, Scorer, Scores
from transformations.collaborative.histories import Events

Weigh = Callable[[Queries], sp.csr_matrix]


def fit_own_counts(events: Events, n_rows: int, seed: int) -> Scorer:
    """How often the user chose the item before; then popularity."""
    return _scorer(liked_before, tie_breaks(events, n_rows))


def fit_own_recent(events: Events, n_rows: int, seed: int) -> Scorer:
    """The same, an event at place k counting 1 / sqrt(1 + k), 0 the newest."""

    def weigh(queries: Queries) -> sp.csr_matrix:
        histories = queries.histories()
        weights = histories.positive / np.sqrt(1.0 + histories.place)
        return histories.sums(weights, len(queries.events.items))

    return _scorer(weigh, tie_breaks(events, n_rows))


def _scorer(weigh: Weigh, ties: NDArray[np.float64]) -> Scorer:
    def score(queries: Queries) -> Scores:
        found: Scores = weigh(queries).toarray() + ties
        return found

    return score
