"""Baselines: each is fitted to the rows before a part, and scores exactly the same queries."""

from collections.abc import Callable

from evaluation.baselines.item_neighbours import fit_item_neighbours
from evaluation.baselines.item_regression import fit_item_regression
from evaluation.baselines.least_squares import fit_least_squares
from evaluation.baselines.own_items import fit_own_counts, fit_own_recent
from evaluation.baselines.popularity import fit_popularity
from evaluation.baselines.self_attention import fit_self_attention
from evaluation.protocol import Scorer
from transformations.collaborative.histories import Events

Fit = Callable[[Events, int, int], Scorer]
"""The events, how many of the first rows may be fitted on, and a seed -> a scorer."""

POPULARITY = "popularity"

BASELINES: dict[str, Fit] = {
    POPULARITY: fit_popularity,
    "item-kNN, tf-idf": fit_item_neighbours,
    "iALS": fit_least_squares,
    "EASE": fit_item_regression,
    "self-attention, no text": fit_self_attention,
}

# What can only be asked where a user chooses an item again.
REPEATS: dict[str, Fit] = {
    "own items, counted": fit_own_counts,
    "own items, newest first": fit_own_recent,
}
