"""From columns to the numbers that the ranker reads: one float per row, NaN where absent."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from feast_fusion.column_names import feature_column, split_column
from feast_fusion.training_set import TrainingSet
from training.ranker.category_columns import Categories, categories_of_items
from training.ranker.columns import Ints, Numbers, Profile, epoch_seconds, list_values, number
from transformations.names import ITEM_STATS, USER_STATS

# What the names of the statistics of a view begin with.
STATISTICS = {ITEM_STATS: "item_", USER_STATS: "user_"}
# How a user took to categories: their names, events and positives.
CATEGORIES, CATEGORY_EVENTS, CATEGORY_POSITIVES = (
    feature_column(USER_STATS, name)
    for name in ("categories", "category_events", "category_positives")
)
# Events that the mean is worth in a smoothed rate.
RATE_PRIOR = 5.0


def derive_numbers(rows: TrainingSet, profile: Profile, prior: float) -> dict[str, Numbers]:
    """(n,) by name: what the ranker reads of the rows' scalars.

    - numbers of the profiles as they are
    - statistics, of which counts and ages on a log scale
    - the rate of positives of item and user, smoothed
    - the affinity of the user to the categories of the item

    Parameters
    ----------
    prior : the mean label, to which a rate of few events is pulled
    """
    names = set(rows.table.column_names)
    derived = {name: number(rows, name) for name in profile.numeric if name in names}
    now = epoch_seconds(rows)
    for name in rows.table.column_names:
        view, feature = split_column(name)
        if view in STATISTICS:
            counted = feature.removeprefix(STATISTICS[view])
            derived[name] = _on_a_scale(counted, number(rows, name), now)
    for view, of in STATISTICS.items():
        n, k = (feature_column(view, f"{of}{what}") for what in ("n_events", "n_positive"))
        if {n, k} <= names:
            rate = smoothed_rate(number(rows, k), number(rows, n), prior)
            derived[feature_column(view, "smoothed_rate")] = rate
    return derived | _affinity(rows, profile, prior)


def is_age(name: str) -> bool:
    """Whether a statistic is an instant, which rows see as its age."""
    view, feature = split_column(name)
    return view in STATISTICS and feature.endswith("_s")


def log_age(instants: Numbers, now: Numbers | float) -> Numbers:
    """log(1 + seconds since the instants), 0 for instants to come."""
    return np.log1p(np.maximum(now - instants, 0.0))


def smoothed_rate(positives: Numbers, events: Numbers, prior: float) -> Numbers:
    """Positives per event, as if RATE_PRIOR more events had had the rate `prior`."""
    return (positives + RATE_PRIOR * prior) / (events + RATE_PRIOR)


def affinity_numbers(
    events: Numbers, positives: Numbers, known: NDArray[np.bool_], prior: float
) -> dict[str, Numbers]:
    """(n,) by name: the user's rate and log count of events in the item's categories.

    Both are NaN where the user or the item is not `known` to have categories.
    """
    rate = smoothed_rate(positives, events, prior)
    return {
        feature_column("affinity", "rate"): np.where(known, rate, np.nan),
        feature_column("affinity", "n_events"): np.where(known, np.log1p(events), np.nan),
    }


def _on_a_scale(feature: str, values: Numbers, now: Numbers) -> Numbers:
    """Ages of instants and counts as logarithms, anything else as it is."""
    if feature.endswith("_s"):
        return log_age(values, now)
    return np.log1p(values) if feature.startswith("n_") else values


def _affinity(rows: TrainingSet, profile: Profile, prior: float) -> dict[str, Numbers]:
    """`affinity_numbers` of the rows; none where the rows have no categories of one side."""
    own = categories_of_items(rows, profile)
    if CATEGORIES not in rows.lists or not own:
        return {}
    user = Categories.of(rows, CATEGORIES)
    coded = pa.concat_arrays([*(each.flat for each in own), user.flat]).dictionary_encode()
    ends = np.cumsum([len(each.flat) for each in own])
    *of_items, of_user = np.split(coded.indices.to_numpy(), ends)
    width = max(1, len(coded.dictionary))

    def count(name: str) -> Numbers:
        """(n,) sum over the item's categories of the user's count."""
        counts = list_values(rows, name).flatten().to_numpy().astype(np.float64)
        users = _matrix(counts, of_user, user.lengths, width)[user.index]
        total = np.zeros(len(rows))
        for each, codes in zip(own, of_items, strict=True):
            items = _matrix(np.ones(len(codes)), codes, each.lengths, width)[each.index]
            total += np.asarray(items.multiply(users).sum(axis=1)).ravel()
        return total

    known = (user.index >= 0) & np.any([each.index >= 0 for each in own], axis=0)
    return affinity_numbers(count(CATEGORY_EVENTS), count(CATEGORY_POSITIVES), known, prior)


def _matrix(values: Numbers, codes: Ints, lengths: Ints, width: int) -> csr_matrix:
    """(m + 1, width): one row per list, and last an empty one, which the index -1 means."""
    offsets = np.concatenate([[0], np.cumsum(lengths), [len(codes)]])
    return csr_matrix((values, codes, offsets), (len(lengths) + 1, width))
