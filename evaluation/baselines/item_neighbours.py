"""Item-kNN: cosines of the items' users, weighted by tf-idf (library `implicit`)."""

import numpy as np

from evaluation.baselines.liked import liked_before, liked_by_users, tie_breaks
from evaluation.protocol import Queries, Scorer, Scores
from feast_fusion.errors import extra_required
from transformations.collaborative.histories import Events

_NEIGHBOURS = 100


def fit_item_neighbours(events: Events, n_rows: int, seed: int) -> Scorer:
    """The sum of an item's cosines to what the user liked, over the 100 nearest of each."""
    with extra_required("report"):
        from implicit.nearest_neighbours import ItemItemRecommender, normalize, tfidf_weight

    model = ItemItemRecommender(K=_NEIGHBOURS, num_threads=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # items that nobody liked
        weighed = normalize(tfidf_weight(liked_by_users(events, n_rows).T))
    model.fit(weighed.T.tocsr(), show_progress=False)
    similarity, ties = model.similarity.astype(np.float32), tie_breaks(events, n_rows)

    def score(queries: Queries) -> Scores:
        found: Scores = (liked_before(queries) @ similarity).toarray() + ties
        return found

    return score
