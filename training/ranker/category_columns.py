"""Categorical features, of one category or several per row, and their one-hot columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.column_names import split_column
from feast_fusion.training_set import TrainingSet
from training.ranker.columns import Floats, Ints, Profile, has_feature, list_values

MAX_CATEGORIES = 64


@dataclass(frozen=True)
class Categories:
    """A categorical feature of n rows, as m lists laid end to end.

    Attributes
    ----------
    flat : strings of all lists
    lengths : (m,)
    index : (n,) a row's list; -1 is absent
    """

    flat: pa.Array
    lengths: Ints
    index: Ints

    @classmethod
    def of(cls, rows: TrainingSet, name: str) -> "Categories":
        """The lists of a list feature, or of a scalar one list of one category per value."""
        if name in rows.lists:
            values = list_values(rows, name)
            flat = pc.fill_null(values.flatten().cast(pa.string()), "")
            lengths = values.value_lengths().to_numpy().astype(np.int64)
            return cls(flat, lengths, rows.lists[name].index.astype(np.int64))
        values = rows.table[name].cast(pa.string()).combine_chunks()
        known = values.is_valid().to_numpy(zero_copy_only=False)
        index = np.where(known, np.cumsum(known) - 1, -1)
        return cls(values.drop_null(), np.ones(int(known.sum()), dtype=np.int64), index)


def categories_of_items(rows: TrainingSet, profile: Profile) -> list[Categories]:
    """Each categorical column of items that the rows have, its categories named as statistics do.

    Statistics of one column count `value`, of several columns `column=value`.
    """
    present = [name for name in profile.item_categorical if has_feature(rows, name)]
    found = [Categories.of(rows, name) for name in present]
    if len(profile.item_categorical) == 1:
        return found
    return [
        Categories(
            pc.binary_join_element_wise(split_column(name)[1], each.flat, "="),
            each.lengths,
            each.index,
        )
        for each, name in zip(found, present, strict=True)
    ]


def fit_vocabulary(rows: TrainingSet, name: str) -> tuple[str, ...]:
    """The most frequent values, ties by name; each distinct list counts once per row."""
    found = Categories.of(rows, name)
    uses = np.bincount(found.index[found.index >= 0], minlength=len(found.lengths))
    coded = found.flat.dictionary_encode()
    totals = np.bincount(
        coded.indices.to_numpy(), np.repeat(uses, found.lengths), minlength=len(coded.dictionary)
    )
    ranked = sorted(zip((-totals).tolist(), coded.dictionary.to_pylist(), strict=True))
    return tuple(value for _, value in ranked[:MAX_CATEGORIES])


def one_hot(rows: TrainingSet, name: str, vocabulary: Sequence[str]) -> Floats:
    """(n, c + 2): the c values of the vocabulary, then any other value, then absent."""
    other, absent, width = len(vocabulary), len(vocabulary) + 1, len(vocabulary) + 2
    if not has_feature(rows, name):
        return np.tile(np.eye(width, dtype=np.float32)[absent], (len(rows), 1))
    found = Categories.of(rows, name)
    places = pc.fill_null(pc.index_in(found.flat, pa.array(vocabulary, pa.string())), other)
    lists = np.zeros((len(found.lengths) + 1, width), dtype=np.float32)
    lists[np.repeat(np.arange(len(found.lengths)), found.lengths), places.to_numpy()] = 1.0
    lists[-1, absent] = 1.0  # the index -1
    return lists[found.index]
