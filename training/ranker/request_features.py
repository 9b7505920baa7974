"""One user against many items: items are encoded once per version of their row, not per request.

The inputs are those that `FeatureEncoder.transform` makes of the joined rows; here the two sides
are encoded apart and only what depends on both, or on the time of the request, is computed for it.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feast_fusion.training_set import TrainingSet
from training.ranker.batching import Distinct, RankerInputs
from training.ranker.columns import (
    RATE_PRIOR,
    categories_of_items,
    derive_numbers,
    is_age,
    list_values,
    log_age,
    number,
)
from training.ranker.feature_encoder import ITEM_TEXT, FeatureEncoder, one_hot, vectors
from training.ranker.recent_lists import Recents, code_items

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ItemBlock:
    """n encoded items.

    Attributes
    ----------
    codes : (n,) int32, 0 for an item that was not in training
    numbers : (n, k) float64 in the order of `RequestEncoder.item_numbers`; NaN where absent, ages
        as the instant in seconds since the epoch
    blocks : (n, c) float32, one-hot columns of the items' categories
    categories : (n, w) int32, numbers of `RequestEncoder.category`, 0 past the end
    has_categories : (n,) bool
    vectors : (n, d) float32, zeros where absent
    has_vector : (n,) bool
    texts : (n, p) float32, the vectors in the ranker's basis
    """

    codes: NDArray[np.int32]
    numbers: NDArray[np.float64]
    blocks: Floats
    categories: NDArray[np.int32]
    has_categories: NDArray[np.bool_]
    vectors: Floats
    has_vector: NDArray[np.bool_]
    texts: Floats

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.int64]) -> "ItemBlock":
        """The given rows, in the given order."""
        return ItemBlock(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_room(self, n: int) -> "ItemBlock":
        """n empty rows of the same widths. The system gives them memory as they are filled."""
        arrays = (getattr(self, field.name) for field in fields(self))
        return ItemBlock(*(np.zeros((n, *array.shape[1:]), array.dtype) for array in arrays))

    def put(self, rows: NDArray[np.int64], items: "ItemBlock") -> "ItemBlock":
        """These items with `items` in the given rows, which are changed in place."""
        width, needed = self.categories.shape[1], items.categories.shape[1]
        wide = self
        if needed > width:
            more = np.pad(self.categories, ((0, 0), (0, needed - width)))
            wide = replace(self, categories=more)
        elif needed < width:
            padded = np.pad(items.categories, ((0, 0), (0, width - needed)))
            items = replace(items, categories=padded)
        for field in fields(self):
            getattr(wide, field.name)[rows] = getattr(items, field.name)
        return wide


class RequestEncoder:
    """Encodes items, and one user against encoded items, as `encoder` would their joined rows.

    Not to be shared by threads that encode items at once: new categories are numbered.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._category: dict[str, int] = {}
        names = list(encoder.scales)
        self.item_numbers = [
            name for name in names if name.startswith(("item_stats", "item_profile"))
        ]
        self._item_columns = np.array([names.index(name) for name in self.item_numbers], dtype=int)
        self._ages = np.array([is_age(name) for name in self.item_numbers], dtype=bool)
        self._item_vocabularies = {
            name: values
            for name, values in encoder.vocabularies.items()
            if name in encoder.profile.item_categorical
        }

    def encode_items(self, rows: TrainingSet) -> ItemBlock:
        """The items of rows of item features; columns of users are not looked at."""
        encoder, n = self._encoder, len(rows)
        found = derive_numbers(rows, encoder.profile, encoder.prior)
        found |= {name: number(rows, name) for name in self._age_names if name in found}
        absent = np.full(n, np.nan)
        numbers = [found.get(name, absent) for name in self.item_numbers]
        blocks = [one_hot(rows, name, values) for name, values in self._item_vocabularies.items()]
        categories, has_categories = self._categories(rows)
        vector = vectors(rows, ITEM_TEXT)
        width = vector.values.shape[1] if vector is not None else 0
        matrix, has_vector = np.zeros((n, width), np.float32), np.zeros(n, dtype=bool)
        if vector is not None:
            has_vector = vector.index >= 0
            matrix[has_vector] = vector.values[vector.index[has_vector]]
        return ItemBlock(
            codes=code_items(rows.table["item_id"].combine_chunks(), encoder.codes),
            numbers=np.stack(numbers, axis=1) if numbers else np.zeros((n, 0)),
            blocks=np.concatenate([*blocks, np.zeros((n, 0), np.float32)], axis=1),
            categories=categories,
            has_categories=has_categories,
            vectors=matrix,
            has_vector=has_vector,
            texts=self._texts(matrix, has_vector),
        )

    def transform(self, user: TrainingSet, items: ItemBlock, now_s: float) -> RankerInputs:
        """`FeatureEncoder.transform` of the user's one row joined with each item.

        Parameters
        ----------
        user : one row of user features, whose event_timestamp is the time of the request
        now_s : the same time, seconds since the epoch
        """
        encoder, n = self._encoder, len(items)
        recents = Recents.of(user, encoder.codes, encoder.history)
        index = torch.from_numpy(np.repeat(recents.index, n))
        return RankerInputs(
            structured=torch.from_numpy(self._structured(user, recents, items, now_s)),
            cosines=torch.from_numpy(self._cosines(user, items)),
            users=torch.zeros(n, dtype=torch.int64),
            items=torch.from_numpy(items.codes),
            folds=torch.full((n,), len(encoder.signal.bias) - 1),
            texts=(self._item_texts(items), *self._user_texts(user, n)),
            recent_items=Distinct(torch.from_numpy(recents.items), index),
            recent_events=Distinct(encoder.events(recents), index),
            tables=encoder.tables,
        )

    @cached_property
    def _age_names(self) -> list[str]:
        return [name for name in self.item_numbers if is_age(name)]

    def _categories(self, rows: TrainingSet) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        columns = categories_of_items(rows, self._encoder.profile)
        lists: list[list[int]] = [[] for _ in range(len(rows))]
        known = np.zeros(len(rows), dtype=bool)
        for flat, lengths, index in columns:
            codes = [self._number_of(value) for value in flat.to_pylist()]
            starts = (np.cumsum(lengths) - lengths).tolist()
            for row, at in enumerate(index.tolist()):
                if at >= 0:
                    lists[row] += codes[starts[at] : starts[at] + int(lengths[at])]
            known |= index >= 0
        width = max(map(len, lists), default=0)
        padded = np.array([each + [0] * (width - len(each)) for each in lists], dtype=np.int32)
        return padded.reshape(len(rows), width), known

    def _number_of(self, category: str) -> int:
        return self._category.setdefault(category, len(self._category) + 1)

    def _structured(
        self, user: TrainingSet, recents: Recents, items: ItemBlock, now_s: float
    ) -> Floats:
        encoder, n = self._encoder, len(items)
        own = derive_numbers(user, encoder.profile, encoder.prior) | recents.summary(encoder.prior)
        raw = np.full((n, len(encoder.scales)), np.nan)
        for column, name in enumerate(encoder.scales):
            if name in own:
                raw[:, column] = own[name][0]
        numbers = items.numbers.copy()
        numbers[:, self._ages] = log_age(numbers[:, self._ages], now_s)
        raw[:, self._item_columns] = numbers
        names = list(encoder.scales)
        for name, column_values in self._affinity(user, items).items():
            if name in encoder.scales:
                raw[:, names.index(name)] = column_values
        scaled, missing = encoder.standardise(raw)
        return np.concatenate(
            [scaled, missing, *self._category_blocks(user, items)], axis=1, dtype=np.float32
        )

    def _category_blocks(self, user: TrainingSet, items: ItemBlock) -> list[Floats]:
        """One-hot blocks in the order of the encoder's vocabularies."""
        blocks, at = [], 0
        for name, values in self._encoder.vocabularies.items():
            width = len(values) + 2
            if name in self._item_vocabularies:
                blocks.append(items.blocks[:, at : at + width])
                at += width
            else:
                blocks.append(np.repeat(one_hot(user, name, values), len(items), axis=0))
        return blocks

    def _affinity(self, user: TrainingSet, items: ItemBlock) -> dict[str, NDArray[np.float64]]:
        if "user_stats__categories" not in user.lists:
            return {}
        counts = np.zeros((2, len(self._category) + 1))
        listed = user.lists["user_stats__categories"]
        if listed.index[0] >= 0:
            places = [self._category.get(c, 0) for c in _only(user, "user_stats__categories")]
            for row, name in enumerate(("category_events", "category_positives")):
                np.add.at(counts[row], places, _only(user, f"user_stats__{name}"))
        counts[:, 0] = 0.0  # past the end of a list, or of no item
        events, positives = counts[:, items.categories].sum(axis=2)
        known = items.has_categories & bool(listed.index[0] >= 0)
        rate = (positives + RATE_PRIOR * self._encoder.prior) / (events + RATE_PRIOR)
        return {
            "affinity__rate": np.where(known, rate, np.nan),
            "affinity__n_events": np.where(known, np.log1p(events), np.nan),
        }

    def _cosines(self, user: TrainingSet, items: ItemBlock) -> Floats:
        """(n, U) of the items with each vector of the user, 0 where one is absent."""
        cosines = np.zeros((len(items), len(self._encoder.user_texts)), dtype=np.float32)
        for at, name in enumerate(self._encoder.user_texts):
            found = vectors(user, name)
            if found is not None and found.index[0] >= 0 and items.vectors.shape[1]:
                cosines[:, at] = items.vectors @ found.values[found.index[0]]
        return cosines

    def _texts(self, matrix: Floats, present: NDArray[np.bool_]) -> Floats:
        basis = self._encoder.basis
        width = self._encoder.item_texts.shape[1]
        texts = np.zeros((len(matrix), width), dtype=np.float32)
        if basis is not None and present.any():
            texts[present] = basis.project(matrix[present])
        return texts

    def _item_texts(self, items: ItemBlock) -> Distinct:
        n = len(items)
        values = torch.from_numpy(np.concatenate([items.texts, np.zeros_like(items.texts[:1])]))
        if n == 0:
            values = torch.zeros(1, self._encoder.item_texts.shape[1])
        index = np.where(items.has_vector & (self._encoder.basis is not None), np.arange(n), -1)
        return Distinct(values, torch.from_numpy(index))

    def _user_texts(self, user: TrainingSet, n: int) -> list[Distinct]:
        return [
            self._spread(self._encoder.text(user, name), n) for name in self._encoder.user_texts
        ]

    @staticmethod
    def _spread(text: Distinct, n: int) -> Distinct:
        index: Tensor = text.index[:1].expand(n)
        return Distinct(text.values, index)


def _only(user: TrainingSet, name: str) -> list[Any]:
    """The list of the one user."""
    column = user.lists[name]
    values: list[Any] = list_values(user, name)[int(column.index[0])].as_py()
    return values
