"""Popularity: how many positive events an item had strictly before the instant."""

import numpy as np

from evaluation.protocol import Queries, Scorer, Scores
from transformations.collaborative.histories import Events


def fit_popularity(events: Events, n_rows: int, seed: int) -> Scorer:
    """Counts as they stood at each instant; nothing is fitted."""

    def score(queries: Queries) -> Scores:
        before = np.searchsorted(events.time, queries.time)
        found = np.empty((len(queries), len(events.items)))
        counts, start = np.zeros(len(events.items)), 0
        for at, end in enumerate(before.tolist()):
            part = slice(start, end)
            liked = events.item[part][events.positive[part]]
            counts += np.bincount(liked, minlength=len(counts))
            found[at], start = counts, end
        return found

    return score
