"""iALS: implicit alternating least squares (Hu, Koren and Volinsky 2008; library `implicit`)."""

import numpy as np
from threadpoolctl import threadpool_limits

from evaluation.baselines.liked import liked_before, liked_by_users, tie_breaks
from evaluation.protocol import Queries, Scorer, Scores
from feast_fusion.errors import extra_required
from transformations.collaborative.histories import Events

_FACTORS = 64
_CONFIDENCE = 1.0
_RIDGE = 10.0
_ITERATIONS = 15


def fit_least_squares(events: Events, n_rows: int, seed: int) -> Scorer:
    """Item factors; a user is folded in from all that they liked before the instant."""
    with extra_required("report"):
        from implicit.cpu.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):  # as the library asks for
        model = AlternatingLeastSquares(
            factors=_FACTORS,
            alpha=_CONFIDENCE,
            regularization=_RIDGE,
            iterations=_ITERATIONS,
            num_threads=1,
            random_state=seed,
        )
        model.fit(liked_by_users(events, n_rows), show_progress=False)
    ties = tie_breaks(events, n_rows)

    def score(queries: Queries) -> Scores:
        users = model.recalculate_user(np.arange(len(queries)), liked_before(queries))
        found: Scores = users @ model.item_factors.T + ties
        return found

    return score
