"""One user against many items: items are encoded once per version of their row, not per request.

The inputs equal what `FeatureEncoder.transform` makes of the joined rows. Here user and items are
encoded apart; a request computes what depends on both, or on its time.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from training.ranker.batching import Distinct, RankerInputs
from training.ranker.category_columns import Codes, categories_of_items, join_codes
from training.ranker.columns import Floats, Numbers, number, vectors
from training.ranker.derived_numbers import (
    affinity_numbers,
    derive_numbers,
    is_age,
    log_age,
)
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.item_block import ItemBlock
from training.ranker.user_block import CategoryCounts, UserBlock, vectors_of
from transformations.names import ITEM_EMBEDDING, ITEM_PROFILE, ITEM_STATS


class RequestEncoder:
    """Encodes items, and one user against encoded items, as `encoder` would their joined rows.

    Threads must not encode items at once: each new category gets a number.
    """

    def __init__(self, encoder: FeatureEncoder) -> None:
        self._encoder = encoder
        self._category: dict[str, int] = {}
        of_items = (ITEM_STATS, ITEM_PROFILE)
        self.item_numbers = [name for name in encoder.scales if name.startswith(of_items)]
        of_items_too = set(encoder.profile.categories_of_items)
        self._item_columns = [name for name in encoder.vocabularies if name in of_items_too]
        self._user_columns = [name for name in encoder.vocabularies if name not in of_items_too]

    def encode_items(self, rows: TrainingSet) -> ItemBlock:
        """The items of rows of item features; columns of users are not looked at."""
        encoder, n = self._encoder, len(rows)
        found = derive_numbers(rows, encoder.profile, encoder.prior)
        found |= {
            name: number(rows, name) for name in self.item_numbers if name in found and is_age(name)
        }
        absent = np.full(n, np.nan)
        numbers = [found.get(name, absent) for name in self.item_numbers]
        categories, has_categories = self._categories(rows)
        matrix, has_vector = _item_vectors(rows)
        return ItemBlock(
            numbers=np.stack(numbers, axis=1) if numbers else np.zeros((n, 0)),
            codes=encoder.category_codes(rows, self._item_columns),
            categories=categories,
            has_categories=has_categories,
            vectors=matrix,
            has_vector=has_vector,
            texts=self._texts(matrix, has_vector),
        )

    def mean_values(self, items: ItemBlock) -> Numbers:
        """(n,) mean value of the events of each item, NaN where there is none."""
        name = feature_column(ITEM_STATS, "item_value_mean")
        if name not in self.item_numbers:
            return np.full(len(items), np.nan)
        values: Numbers = items.numbers[:, self.item_numbers.index(name)]
        return values

    def encode_users(self, rows: TrainingSet) -> list[UserBlock]:
        """The users of rows of user features, whose event_timestamp is the time of the request."""
        encoder = self._encoder
        recent = encoder.recent_lists(rows)
        numbers = encoder.numbers(rows, recent)
        codes = encoder.category_codes(rows, self._user_columns)
        texts = [encoder.text(rows, name) for name in encoder.user_texts]
        return [
            UserBlock(
                numbers={name: column[at] for name, column in numbers.items()},
                codes=codes[at],
                counts=CategoryCounts.of(rows, at),
                vectors=vectors_of(rows, at, encoder.user_texts),
                texts=[Distinct(text.values, text.index[at : at + 1]) for text in texts],
                recent=recent.alone(at),
            )
            for at in range(len(rows))
        ]

    def transform(
        self,
        user: UserBlock,
        items: ItemBlock,
        now_s: float,
        collaborative: Mapping[str, Numbers],
    ) -> RankerInputs:
        """`FeatureEncoder.transform` of the user's one row joined with each item.

        Parameters
        ----------
        now_s : the time of the request, seconds since the epoch
        collaborative : (n,) by column, what `Collaboration` says of the user and the items
        """
        encoder, n, recent = self._encoder, len(items), user.recent
        numbers = {name: np.broadcast_to(value, n) for name, value in user.numbers.items()}
        numbers |= self._numbers_of(items, now_s) | self._affinity(user, items)
        numbers |= dict(collaborative)
        structured, of_others = encoder.standardise(numbers, n)
        index = torch.from_numpy(np.repeat(recent.index, n))
        return RankerInputs(
            structured=torch.from_numpy(structured),
            categories=torch.from_numpy(self._codes(user, items)),
            cosines=torch.from_numpy(self._cosines(user, items)),
            collaborative=torch.from_numpy(of_others),
            users=torch.zeros(n, dtype=torch.int64),
            texts=(
                self._item_texts(items),
                *(Distinct(text.values, text.index.expand(n)) for text in user.texts),
            ),
            recent_items=Distinct(torch.from_numpy(recent.items), index),
            recent_events=Distinct(encoder.events(recent), index),
            known_texts=encoder.known_texts,
        )

    def _categories(self, rows: TrainingSet) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(n, w) numbers of the items' categories, 0 past the end; (n,) whether there are any."""
        lists: list[list[int]] = [[] for _ in range(len(rows))]
        known = np.zeros(len(rows), dtype=bool)
        for column in categories_of_items(rows, self._encoder.profile):
            for value in column.flat.to_pylist():
                self._category.setdefault(value, len(self._category) + 1)
            numbers = [self._category[value] for value in column.flat.to_pylist()]
            ends = np.cumsum(column.lengths).tolist()
            lengths = column.lengths.tolist()
            for row, at in enumerate(column.index.tolist()):
                if at >= 0:
                    lists[row] += numbers[ends[at] - lengths[at] : ends[at]]
            known |= column.index >= 0
        width = max(map(len, lists), default=0)
        padded = np.array([each + [0] * (width - len(each)) for each in lists], dtype=np.int32)
        return padded.reshape(len(rows), width), known

    def _numbers_of(self, items: ItemBlock, now_s: float) -> dict[str, Numbers]:
        """(n,) by name: the items' own numbers at the time of the request."""
        return {
            name: log_age(column, now_s) if is_age(name) else column
            for name, column in zip(self.item_numbers, items.numbers.T, strict=True)
        }

    def _codes(self, user: UserBlock, items: ItemBlock) -> Codes:
        """(n, w) codes of the categories of the user and of each item."""
        n = len(items)
        return join_codes([items.codes, np.repeat(user.codes[None], n, axis=0)], [0, 0], n)

    def _affinity(self, user: UserBlock, items: ItemBlock) -> dict[str, Numbers]:
        if user.counts is None:
            return {}
        counts = np.zeros((2, len(self._category) + 1))
        places = [self._category.get(name, 0) for name in user.counts.categories]
        np.add.at(counts[0], places, user.counts.events)
        np.add.at(counts[1], places, user.counts.positives)
        counts[:, 0] = 0.0  # past the end of a list, or of no item
        events, positives = counts[:, items.categories].sum(axis=2)
        known = items.has_categories & user.counts.is_known
        return affinity_numbers(events, positives, known, self._encoder.prior)

    def _cosines(self, user: UserBlock, items: ItemBlock) -> Floats:
        """(n, U) of the items with each vector of the user, 0 where one is absent."""
        cosines = np.zeros((len(items), len(self._encoder.user_texts)), dtype=np.float32)
        for at, name in enumerate(self._encoder.user_texts):
            if name in user.vectors and items.vectors.shape[1]:
                cosines[:, at] = items.vectors @ user.vectors[name]
        return cosines

    def _texts(self, matrix: Floats, present: NDArray[np.bool_]) -> Floats:
        """(n, p) the item vectors projected, zeros where absent."""
        texts = np.zeros((len(matrix), self._encoder.item_texts.shape[1]), dtype=np.float32)
        if self._encoder.text_projection is not None and present.any():
            texts[present] = self._encoder.text_projection.project(matrix[present])
        return texts

    def _item_texts(self, items: ItemBlock) -> Distinct:
        absent = np.zeros((1, items.texts.shape[1]), np.float32)
        values = torch.from_numpy(np.concatenate([items.texts, absent]))
        readable = items.has_vector & (self._encoder.text_projection is not None)
        return Distinct(values, torch.from_numpy(np.where(readable, np.arange(len(items)), -1)))


def _item_vectors(rows: TrainingSet) -> tuple[Floats, NDArray[np.bool_]]:
    """(n, d) the item vectors, zeros where absent; (n,) whether there is one."""
    found = vectors(rows, ITEM_EMBEDDING)
    if found is None:
        return np.zeros((len(rows), 0), np.float32), np.zeros(len(rows), dtype=bool)
    present = found.index >= 0
    matrix = np.zeros((len(rows), found.values.shape[1]), np.float32)
    matrix[present] = found.values[found.index[present]]
    return matrix, present
