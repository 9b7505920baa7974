"""EASE: a linear model of each item on all others (Steck 2019), on flat histories."""

from evaluation.baselines.liked import liked_before, tie_breaks
from evaluation.protocol import Queries, Scorer, Scores
from transformations.collaborative.histories import Events
from transformations.collaborative.item_models import fit_ease


def fit_item_regression(events: Events, n_rows: int, seed: int) -> Scorer:
    """The closed form of `fit_ease`; each liked item counts once, however long ago."""
    weights = fit_ease(events, n_rows, len(events.items)).toarray()
    ties = tie_breaks(events, n_rows)

    def score(queries: Queries) -> Scores:
        liked = liked_before(queries)
        liked.data[:] = 1.0
        found: Scores = liked @ weights + ties
        return found

    return score
