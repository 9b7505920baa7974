"""From a training set to the ranker's inputs: fitted on training rows, the same at serving."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feast_fusion.errors import schema_error
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.model_settings import RankerConfig
from intake.outliers import without_outliers
from training.ranker.batching import Distinct, RankerInputs
from training.ranker.category_columns import Codes, Vocabulary, fit_codes, join_codes
from training.ranker.columns import (
    OUTCOME,
    Floats,
    Numbers,
    Profile,
    feature_names,
    has_feature,
    is_collaborative,
    number,
    outcome_columns,
    vectors,
)
from training.ranker.derived_numbers import derive_numbers
from training.ranker.item_texts import ItemTexts, code_items
from training.ranker.recent_lists import RecentLists
from training.ranker.text_projection import TextProjection
from transformations.id_map import IdMap
from transformations.names import ITEM_EMBEDDING, PORTRAIT_EMBEDDING, USER_EMBEDDING, USER_INTEREST

USER_TEXTS = (USER_EMBEDDING, USER_INTEREST, PORTRAIT_EMBEDDING)
CLIP = 4.0  # standard deviations
CHUNK = 16_384  # rows whose vectors are laid out at a time


@dataclass(frozen=True)
class FeatureEncoder:
    """What the encoding of a row needs to know of the training rows.

    Attributes
    ----------
    history : how many of a user's recent events are read
    prior : mean label
    value_spread : standard deviation of the values in the recent lists, 1 without values
    columns : features of the training rows, all of which any other rows must have
    scales : mean and standard deviation per number, outliers apart; those of
        `collaborative_numbers` come last
    vocabularies : per categorical column the codes of its values
    items : known items
    user_texts : which text vectors of users there are
    text_projection : of text vectors, None where the training rows have none
    outcomes : event types that the ranker has a head for
    item_texts : (v + 1, p) projected vectors of the unknown item (zeros) and the v known items
    """

    profile: Profile
    history: int
    prior: float
    value_spread: float
    columns: tuple[str, ...]
    scales: Mapping[str, tuple[float, float]]
    vocabularies: Mapping[str, Vocabulary]
    items: IdMap
    user_texts: tuple[str, ...]
    text_projection: TextProjection | None
    item_texts: Floats
    outcomes: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        rows: NDArray[np.int64],
        dataset: Dataset,
        *,
        config: RankerConfig | None = None,
    ) -> "FeatureEncoder":
        """The encoder of the labelled `rows`, in the order of time; no other row is looked at.

        Parameters
        ----------
        config : history, text_width, categories and category_buckets are read
        """
        config = config or dataset.ranker
        past = training_set.take(rows)
        labels = number(past, "label").astype(np.float32)
        prior = float(labels.mean()) if len(labels) else 0.5
        profile = Profile.of(dataset)
        items = IdMap.of(past.table["item_id"])
        recent = RecentLists.of(past, items, config.history)
        numbers = _numbers(past, profile, prior, recent)
        categorical = [name for name in profile.categorical if has_feature(past, name)]
        projection, item_texts = _fit_texts(past, items, config.text_width)
        user_texts = USER_TEXTS if projection else ()
        return cls(
            profile=profile,
            history=config.history,
            prior=prior,
            value_spread=recent.value_spread,
            columns=feature_names(past),
            scales={name: _scale(column) for name, column in numbers.items()},
            vocabularies={
                name: fit_codes(past, name, config.categories, config.category_buckets)
                for name in categorical
            },
            items=items,
            user_texts=tuple(name for name in user_texts if vectors(past, name)),
            text_projection=projection,
            item_texts=item_texts,
            outcomes=tuple(name.removeprefix(OUTCOME) for name in outcome_columns(past)),
        )

    @cached_property
    def known_texts(self) -> ItemTexts:
        """`item_texts` as a tensor."""
        return ItemTexts(torch.from_numpy(self.item_texts))

    def transform(self, rows: TrainingSet) -> RankerInputs:
        """The rows as tensors.

        Raises
        ------
        SchemaError
            A feature that the encoder was fitted on is missing.
        """
        self._require_columns(rows)
        recent = self.recent_lists(rows)
        users = rows.table["user_id"]
        structured, collaborative = self.standardise(self.numbers(rows, recent), len(rows))
        index = torch.from_numpy(recent.index)
        return RankerInputs(
            structured=torch.from_numpy(structured),
            categories=torch.from_numpy(self.category_codes(rows, self.vocabularies)),
            cosines=torch.from_numpy(self._cosines(rows)),
            collaborative=torch.from_numpy(collaborative),
            users=torch.from_numpy(IdMap.of(users).codes(users)),
            texts=tuple(self.text(rows, name) for name in (ITEM_EMBEDDING, *self.user_texts)),
            recent_items=Distinct(torch.from_numpy(recent.items), index),
            recent_events=Distinct(self.events(recent), index),
            known_texts=self.known_texts,
        )

    @cached_property
    def n_codes(self) -> int:
        """How many codes of categories there are, from 1 on."""
        return sum(map(len, self.vocabularies.values()))

    def category_codes(self, rows: TrainingSet, names: Collection[str]) -> Codes:
        """(n, w) codes of the categorical columns `names` in the rows, see `join_codes`."""
        blocks = [self.vocabularies[name].codes(rows, name) for name in names]
        return join_codes(blocks, [self._offsets[name] for name in names], len(rows))

    @cached_property
    def _offsets(self) -> dict[str, int]:
        """Codes of the columns before each column."""
        sizes = [0, *map(len, self.vocabularies.values())]
        return dict(zip(self.vocabularies, np.cumsum(sizes).tolist(), strict=False))

    def recent_lists(self, rows: TrainingSet) -> RecentLists:
        """The recent events of the rows' users."""
        return RecentLists.of(rows, self.items, self.history)

    def numbers(self, rows: TrainingSet, recent: RecentLists) -> dict[str, Numbers]:
        """(n,) by name: the numbers that the rows have, on their own scales."""
        return _numbers(rows, self.profile, self.prior, recent)

    def standardise(self, numbers: Mapping[str, Numbers], n: int) -> tuple[Floats, Floats]:
        """(n, 2k) structured and (n, 2c) collaborative numbers, in the order of `scales`.

        Of each, first the numbers in deviations, 0 where absent, then 1 where absent.
        """
        own, of_others = self._own_and_of_others
        return self._standardise(numbers, own, n), self._standardise(numbers, of_others, n)

    @cached_property
    def _own_and_of_others(self) -> tuple[list[str], list[str]]:
        of_others = [name for name in self.scales if is_collaborative(name)]
        return [name for name in self.scales if name not in of_others], of_others

    def _standardise(self, numbers: Mapping[str, Numbers], names: Sequence[str], n: int) -> Floats:
        """(n, 2k), see `standardise`."""
        if not names:
            return np.zeros((n, 0), dtype=np.float32)
        absent = np.full(n, np.nan)
        raw = np.stack([numbers.get(name, absent) for name in names], axis=1)
        mean, deviation = np.array([self.scales[name] for name in names]).T
        scaled = np.clip((raw - mean) / deviation, -CLIP, CLIP)
        missing = np.isnan(scaled)
        return np.concatenate([np.where(missing, 0.0, scaled), missing], axis=1, dtype=np.float32)

    def text(self, rows: TrainingSet, name: str) -> Distinct:
        """The vector feature `name` of the rows, projected."""
        found = vectors(rows, name)
        if found is None or self.text_projection is None:
            width = self.item_texts.shape[1]
            return Distinct(torch.zeros(1, width), torch.full((len(rows),), -1))
        present = found.index >= 0
        used, place = np.unique(found.index[present], return_inverse=True)  # values may be shared
        index = np.full(len(rows), -1, dtype=np.int32)
        index[present] = place
        projected = self.text_projection.project(np.asarray(found.values)[used])
        absent = np.zeros((1, projected.shape[1]), np.float32)
        with_zeros = torch.from_numpy(np.concatenate([projected, absent]))
        return Distinct(with_zeros, torch.from_numpy(index))

    def events(self, recent: RecentLists) -> Tensor:
        """(m + 1, H, 4): mask, positive, centred value, age."""
        values = recent.centred_values(self.value_spread)
        columns = (recent.mask.astype(np.float32), recent.positives, values, recent.ages)
        return torch.from_numpy(np.stack(columns, axis=2))

    def _require_columns(self, rows: TrainingSet) -> None:
        missing = sorted(set(self.columns) - set(feature_names(rows)))
        if missing:
            raise schema_error(
                "features of the ranker",
                got=f"rows without {', '.join(missing)}",
                expected="every feature that it was trained on",
                remedy="Retrieve the feature service it was trained on, or train again.",
            )

    def _cosines(self, rows: TrainingSet) -> Floats:
        """(N, U) of the item with each vector of the user, 0 where one is absent."""
        cosines = np.zeros((len(rows), len(self.user_texts)), dtype=np.float32)
        item = vectors(rows, ITEM_EMBEDDING)
        for at, name in enumerate(self.user_texts):
            user = vectors(rows, name)
            if item is None or user is None:
                continue
            known = np.flatnonzero((item.index >= 0) & (user.index >= 0))
            for start in range(0, len(known), CHUNK):
                chunk = known[start : start + CHUNK]
                one, other = item.values[item.index[chunk]], user.values[user.index[chunk]]
                cosines[chunk, at] = np.einsum("nd,nd->n", one, other)
        return cosines


def _numbers(
    rows: TrainingSet, profile: Profile, prior: float, recent: RecentLists
) -> dict[str, Numbers]:
    """(n,) by name: the structured numbers of the rows, then the collaborative ones."""
    collaborative = filter(is_collaborative, rows.table.column_names)
    return (
        derive_numbers(rows, profile, prior)
        | recent.summary(prior)
        | {name: number(rows, name) for name in collaborative}
    )


def _fit_texts(rows: TrainingSet, items: IdMap, width: int) -> tuple[TextProjection | None, Floats]:
    """The projection of the rows' item vectors, and the newest vector of each item in it.

    Rows in the order of time, of the items a b a with the vectors 0 1 2: the newest vector of a is
    2, that of b is 1. The unknown item in row 0 has zeros.
    """
    found = vectors(rows, ITEM_EMBEDDING)
    present = np.flatnonzero(found.index >= 0) if found is not None else np.array([], dtype=int)
    if found is None or len(present) == 0:
        return None, np.zeros((len(items) + 1, 1), dtype=np.float32)
    matrix, index = np.asarray(found.values), found.index[present]
    projection = TextProjection.fit(matrix[np.unique(index)], width)
    newest = np.full(len(items) + 1, -1)
    newest[code_items(items, rows.table["item_id"])[present]] = index  # numpy keeps the last one
    newest[0] = -1
    texts = np.zeros((len(newest), projection.width), dtype=np.float32)
    texts[newest >= 0] = projection.project(matrix[newest[newest >= 0]])
    return projection, texts


def _scale(column: Numbers) -> tuple[float, float]:
    """Mean and standard deviation of what is known and no outlier; 0 and 1 where they say nothing.

    Two prices of 99,999,999 among thousands would make all others one price.
    """
    known = without_outliers(column[np.isfinite(column)])
    if len(known) == 0:
        return 0.0, 1.0
    deviation = float(known.std())
    return float(known.mean()), deviation if deviation > 1e-9 else 1.0
