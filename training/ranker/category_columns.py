"""Categorical features, of one category or several per row, as codes and as one-hot columns."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.column_names import split_column
from feast_fusion.training_set import TrainingSet
from training.ranker.columns import Floats, Ints, Profile, has_feature, list_values

MAX_CATEGORIES = 64
# Of fewer rows the ranker learns nothing of a category by itself.
MIN_ROWS = 5

Codes = NDArray[np.int32]


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


@dataclass(frozen=True)
class Vocabulary:
    """The categories of one feature that have a code of their own; others share `buckets` codes.

    Attributes
    ----------
    values : the most frequent values
    buckets : codes that all other values share, each value by its hash
    shared : share of the categories of the rows it was fitted to that have no code of their own
    """

    values: tuple[str, ...]
    buckets: int
    shared: float

    def __len__(self) -> int:
        """How many codes: of the values, of the buckets, and one of absence."""
        return len(self.values) + self.buckets + 1

    def codes(self, rows: TrainingSet, name: str) -> Codes:
        """(n, w) codes from 1 on, ascending, after as many 0 as there is room.

        Of the values a and b and 2 buckets, the row [b, a] has 1 and 2, a row of an unknown value 3
        or 4, an empty list none, and absence has 5.
        """
        absent = np.full((1, 1), len(self), dtype=np.int32)
        if not has_feature(rows, name):
            return np.repeat(absent, len(rows), axis=0)
        found = Categories.of(rows, name)
        coded = found.flat.dictionary_encode()
        of_value = np.array([self._code(value) for value in coded.dictionary.to_pylist()], int)
        width, places = max(1, found.lengths.max(initial=0)), np.arange(len(coded))
        within = places - np.repeat(np.cumsum(found.lengths) - found.lengths, found.lengths)
        lists = np.zeros((len(found.lengths) + 1, width), dtype=np.int32)
        lists[np.repeat(np.arange(len(found.lengths)), found.lengths), within] = of_value[
            coded.indices.to_numpy()
        ]
        lists[-1, 0] = len(self)  # the index -1
        return lists[found.index]

    def _code(self, value: str) -> int:
        own = self._own.get(value)
        if own is not None:
            return own
        return 1 + len(self.values) + zlib.crc32(value.encode()) % self.buckets

    @cached_property
    def _own(self) -> Mapping[str, int]:
        return {value: code for code, value in enumerate(self.values, start=1)}


def fit_codes(rows: TrainingSet, name: str, limit: int, buckets: int) -> Vocabulary:
    """The vocabulary of at most `limit` values, each of at least `MIN_ROWS` rows."""
    counts = _count_values(rows, name)
    values = tuple(value for value, n in counts[:limit] if n >= MIN_ROWS)
    total = sum(n for _, n in counts)
    shared = sum(n for _, n in counts[len(values) :])
    return Vocabulary(values, buckets, shared / total if total else 0.0)


def join_codes(blocks: Sequence[Codes], offsets: Sequence[int], n: int) -> Codes:
    """(n, w) codes of several features side by side, each moved by its offset, 0 where no code.

    Ascending, with as little room as the longest row needs, so that equal rows are equal arrays.
    """
    moved = [np.where(block, block + at, 0) for block, at in zip(blocks, offsets, strict=True)]
    codes = np.sort(np.concatenate([*moved, np.zeros((n, 1), np.int32)], axis=1), axis=1)
    width = max(1, int((codes > 0).sum(axis=1).max(initial=0)))
    return codes[:, -width:].astype(np.int32)


def fit_vocabulary(rows: TrainingSet, name: str) -> tuple[str, ...]:
    """The most frequent values, ties by name; each distinct list counts once per row."""
    return tuple(value for value, _ in _count_values(rows, name)[:MAX_CATEGORIES])


def _count_values(rows: TrainingSet, name: str) -> list[tuple[str, int]]:
    """Each value and its rows, the most frequent first, ties by name."""
    found = Categories.of(rows, name)
    uses = np.bincount(found.index[found.index >= 0], minlength=len(found.lengths))
    coded = found.flat.dictionary_encode()
    totals = np.bincount(
        coded.indices.to_numpy(), np.repeat(uses, found.lengths), minlength=len(coded.dictionary)
    )
    ranked = sorted(zip((-totals).tolist(), coded.dictionary.to_pylist(), strict=True))
    return [(value, int(-n)) for n, value in ranked]


def one_hot(rows: TrainingSet, name: str, vocabulary: Sequence[str]) -> Floats:
    """(n, c): 1 for each of the c values that the row has."""
    width = len(vocabulary)
    if not has_feature(rows, name):
        return np.zeros((len(rows), width), np.float32)
    found = Categories.of(rows, name)
    places = pc.fill_null(pc.index_in(found.flat, pa.array(vocabulary, pa.string())), width)
    lists = np.zeros((len(found.lengths) + 1, width + 1), dtype=np.float32)
    lists[np.repeat(np.arange(len(found.lengths)), found.lengths), places.to_numpy()] = 1.0
    lists[-1] = 0.0  # the index -1
    return lists[found.index, :width]
