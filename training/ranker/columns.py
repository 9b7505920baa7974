"""From the columns of a training set to named numbers: one float per row, NaN where absent.

Only names of the project's own views are known here; profile columns come from the data set's
description.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from feast_fusion.errors import schema_error
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset

Numbers = NDArray[np.float64]
Ints = NDArray[np.int64]

STATISTICS = ("item_stats", "user_stats")
# Events that the mean is worth in a smoothed rate.
RATE_PRIOR = 5.0


@dataclass(frozen=True)
class Profile:
    """The profile columns of a data set, by their names in a training set."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    item_categorical: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset) -> "Profile":
        """The columns that `[items]` and `[users]` declare."""
        items, users = dataset.items, dataset.users
        categories = _columns("item_profile", items.categorical)
        return cls(
            _columns("item_profile", items.numeric)
            + (_columns("user_profile", users.numeric) if users else ()),
            categories + (_columns("user_profile", users.categorical) if users else ()),
            categories,
        )


def _columns(view: str, features: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{view}__{feature}" for feature in features)


def epoch_seconds(rows: TrainingSet) -> Numbers:
    """(n,) the rows' event timestamps, seconds since the epoch."""
    column = rows.table["event_timestamp"].cast(pa.timestamp("us", tz="UTC"))
    seconds: Numbers = column.cast(pa.int64()).to_numpy() / 1e6
    return seconds


def number(rows: TrainingSet, name: str) -> Numbers:
    """(n,) float64 of a scalar column, NaN where null.

    Raises
    ------
    SchemaError
        The column is not there or not numeric.
    """
    if name not in rows.table.column_names:
        raise schema_error(
            f"feature {name!r}",
            got=f"columns {rows.table.column_names}",
            expected="the columns that the ranker was fitted on",
            remedy="Retrieve the same feature service.",
        )
    try:
        values: Numbers = rows.table[name].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"feature {name!r}",
            got=rows.table[name].type,
            expected="a number",
            remedy="Declare it as categorical in dataset.toml.",
        ) from error
    return values


def derive_numbers(rows: TrainingSet, profile: Profile, prior: float) -> dict[str, Numbers]:
    """Profile numbers, statistics with counts and ages on a log scale, smoothed rates, affinity.

    `prior` is the mean label, which rates of few events are pulled to.
    """
    names = set(rows.table.column_names)
    derived = {name: number(rows, name) for name in profile.numeric if name in names}
    now = epoch_seconds(rows)
    for name in rows.table.column_names:
        view, _, feature = name.partition("__")
        if view in STATISTICS:
            derived[name] = _on_a_scale(feature, number(rows, name), now)
    for view in STATISTICS:
        if f"{view}__n_events" in names and f"{view}__n_positive" in names:
            n, k = number(rows, f"{view}__n_events"), number(rows, f"{view}__n_positive")
            derived[f"{view}__smoothed_rate"] = (k + RATE_PRIOR * prior) / (n + RATE_PRIOR)
    return derived | _affinity(rows, profile, prior)


def is_age(name: str) -> bool:
    """Whether a statistic is an instant, which rows see as its age."""
    view, _, feature = name.partition("__")
    return view in STATISTICS and feature.endswith("_s")


def log_age(instants: Numbers, now: Numbers | float) -> Numbers:
    """log(1 + seconds since the instants), 0 for instants to come."""
    return np.log1p(np.maximum(now - instants, 0.0))


def _on_a_scale(feature: str, values: Numbers, now: Numbers) -> Numbers:
    """Ages of instants and counts as logarithms, anything else as it is."""
    if feature.endswith("_s"):
        return log_age(values, now)
    return np.log1p(values) if feature.startswith("n_") else values


def categories_of_items(rows: TrainingSet, profile: Profile) -> list[tuple[pa.Array, Ints, Ints]]:
    """Per categorical column of items that there is: `category_lists`, named as statistics do."""
    present = [name for name in profile.item_categorical if has_feature(rows, name)]
    found = [category_lists(rows, name) for name in present]
    if len(profile.item_categorical) == 1:
        return found
    return [  # then the statistics count "column=value"
        (_prefixed(flat, name.partition("__")[2]), lengths, index)
        for (flat, lengths, index), name in zip(found, present, strict=True)
    ]


def _affinity(rows: TrainingSet, profile: Profile, prior: float) -> dict[str, Numbers]:
    """How the user took to the categories that this item has; NaN where either has none."""
    if "user_stats__categories" not in rows.lists:
        return {}
    own = categories_of_items(rows, profile)
    if not own:
        return {}
    user = rows.lists["user_stats__categories"]
    liked = list_values(rows, "user_stats__categories").flatten().cast(pa.string())
    flats = [*(flat for flat, _, _ in own), liked]
    coded = pa.concat_arrays(flats).dictionary_encode()
    codes = np.split(coded.indices.to_numpy(), np.cumsum([len(flat) for flat in flats])[:-1])
    width = max(1, len(coded.dictionary))
    counts = [
        _by_category(list_values(rows, f"user_stats__{name}"), codes[-1], width)
        for name in ("category_events", "category_positives")
    ]
    events, positives = (
        sum(
            _overlap(_indicator(code, lengths, width), index, matrix, user.index)
            for (_, lengths, index), code in zip(own, codes[:-1], strict=True)
        )
        for matrix in counts
    )
    known = user.index >= 0
    known &= np.any([index >= 0 for _, _, index in own], axis=0)
    rate = (positives + RATE_PRIOR * prior) / (events + RATE_PRIOR)
    return {
        "affinity__rate": np.where(known, rate, np.nan),
        "affinity__n_events": np.where(known, np.log1p(events), np.nan),
    }


def has_feature(rows: TrainingSet, name: str) -> bool:
    """Whether the rows have the feature, as a scalar or as lists."""
    return name in rows.table.column_names or name in rows.lists


def list_values(rows: TrainingSet, name: str) -> pa.ListArray:
    """The m distinct lists of a list feature.

    Raises
    ------
    SchemaError
        There is no such feature, or it is a vector.
    """
    found = rows.lists[name].values if name in rows.lists else None
    if found is None or isinstance(found, np.ndarray):
        raise schema_error(
            f"feature {name!r}",
            got=f"list features {sorted(rows.lists)}",
            expected="a list feature of that name",
            remedy="Retrieve the feature service that the ranker reads.",
        )
    return found


def category_lists(rows: TrainingSet, name: str) -> tuple[pa.Array, Ints, Ints]:
    """Flat strings, (m,) lengths and (n,) index of a categorical feature; index -1 is absent."""
    if name in rows.lists:
        values = list_values(rows, name)
        flat = pc.fill_null(values.flatten().cast(pa.string()), "")
        lengths = values.value_lengths().to_numpy().astype(np.int64)
        return flat, lengths, rows.lists[name].index.astype(np.int64)
    values = rows.table[name].cast(pa.string()).combine_chunks()
    known = values.is_valid().to_numpy(zero_copy_only=False)
    index = np.where(known, np.cumsum(known) - 1, -1)
    return values.drop_null(), np.ones(int(known.sum()), dtype=np.int64), index


def _prefixed(flat: pa.Array, column: str) -> pa.Array:
    return pc.binary_join_element_wise(column, flat, "=")


def _indicator(codes: Ints, lengths: Ints, width: int) -> csr_matrix:
    return _ragged(np.ones(len(codes)), codes, lengths, width)


def _by_category(lists: pa.ListArray, codes: Ints, width: int) -> csr_matrix:
    lengths = lists.value_lengths().to_numpy().astype(np.int64)
    return _ragged(lists.flatten().to_numpy().astype(np.float64), codes, lengths, width)


def _ragged(values: Numbers, codes: Ints, lengths: Ints, width: int) -> csr_matrix:
    """(m + 1, width): one row per list, and last an empty one, which the index -1 means."""
    offsets = np.concatenate([[0], np.cumsum(lengths), [len(codes)]])
    return csr_matrix((values, codes, offsets), (len(lengths) + 1, width))


def _overlap(
    items: csr_matrix, item_index: Ints, users: csr_matrix, user_index: NDArray[np.int32]
) -> Numbers:
    """(n,) sum over an item's categories of the user's count."""
    both = items[item_index % items.shape[0]].multiply(users[user_index % users.shape[0]])
    return np.asarray(both.sum(axis=1)).ravel().astype(np.float64)
