"""From a training set to the ranker's inputs: fitted on training rows, the same at serving."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feast_fusion.errors import schema_error
from feast_fusion.training_set import Indexed, TrainingSet
from intake.dataset import Dataset
from training.ranker.batching import Distinct, ItemTables, RankerInputs
from training.ranker.columns import Profile, category_lists, derive_numbers, has_feature, number
from training.ranker.item_factors import ItemSignal, fit_item_signal, fold_of
from training.ranker.recent_lists import Recents, code_items
from training.ranker.text_projection import TextBasis

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

ITEM_TEXT = "item_embedding"
USER_TEXTS = ("user_embedding", "user_interest")
MAX_CATEGORIES = 64
CLIP = 4.0  # standard deviations
CHUNK = 16_384  # rows whose vectors are laid out at a time


@dataclass(frozen=True)
class FeatureEncoder:
    """Everything about the training rows that encoding a row needs.

    Attributes
    ----------
    prior : mean label
    value_spread : standard deviation of the values in the recent lists, 1 without values
    columns : features of the training rows, all of which any other rows must have
    scales : mean and standard deviation per number
    vocabularies : per categorical column its most frequent values
    item_ids : known items; an item's code is its position + 1
    user_texts : which text vectors of users there are
    """

    profile: Profile
    history: int
    prior: float
    value_spread: float
    columns: tuple[str, ...]
    scales: Mapping[str, tuple[float, float]]
    vocabularies: Mapping[str, tuple[str, ...]]
    item_ids: tuple[str, ...]
    user_texts: tuple[str, ...]
    signal: ItemSignal
    basis: TextBasis | None
    item_texts: Floats  # (v + 1, p)

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        rows: NDArray[np.int64],
        dataset: Dataset,
        *,
        rank: int = 32,
        text_width: int = 64,
        seed: int = 0,
    ) -> "FeatureEncoder":
        """The encoder of the labelled `rows`, in the order of time; no other row is looked at.

        Parameters
        ----------
        rank : int
            Width of the collaborative factors of an item, per kind.
        text_width : int
            Width that text vectors are projected to.
        """
        past = training_set.take(rows)
        labels = number(past, "label").astype(np.float32)
        prior = float(labels.mean()) if len(labels) else 0.5
        profile = Profile.of(dataset)
        item_ids = _item_ids(past)
        codes = _codes(item_ids)
        recents = Recents.of(past, codes, dataset.activity.history)
        values = recents.values[recents.mask & np.isfinite(recents.values)]
        numbers = derive_numbers(past, profile, prior) | recents.summary(prior)
        items = code_items(past.table["item_id"].combine_chunks(), codes)
        users = past.table["user_id"].to_numpy().astype(object)
        signal = fit_item_signal(
            np.unique(users.astype(str), return_inverse=True)[1],
            items.astype(np.int64),
            labels,
            fold_of(users),
            n_items=len(item_ids),
            explicit=dataset.interactions.explicit,
            rank=rank,
            seed=seed,
        )
        basis, item_texts = _fit_texts(past, items, len(item_ids) + 1, text_width)
        return cls(
            profile=profile,
            history=dataset.activity.history,
            prior=prior,
            value_spread=float(values.std()) if len(values) and values.std() > 0 else 1.0,
            columns=_feature_names(past),
            scales={name: _scale(column) for name, column in numbers.items()},
            vocabularies={
                name: _vocabulary(past, name)
                for name in profile.categorical
                if has_feature(past, name)
            },
            item_ids=item_ids,
            user_texts=tuple(
                name for name in USER_TEXTS if basis is not None and vectors(past, name)
            ),
            signal=signal,
            basis=basis,
            item_texts=item_texts,
        )

    @cached_property
    def codes(self) -> dict[str, int]:
        """Item id to code, from 1."""
        return _codes(self.item_ids)

    @cached_property
    def tables(self) -> ItemTables:
        """The item tables as tensors."""
        return ItemTables(
            torch.from_numpy(self.signal.bias),
            torch.from_numpy(self.signal.factors),
            torch.from_numpy(self.item_texts),
        )

    def transform(self, rows: TrainingSet, *, cross_fitted: bool = False) -> RankerInputs:
        """The rows as tensors.

        Parameters
        ----------
        cross_fitted : bool
            True for the rows that the encoder was fitted on and the ranker learns from: they look
            up item factors that leave their user out (see `training.ranker.item_factors`).

        Raises
        ------
        SchemaError
            A feature that the encoder was fitted on is missing.
        """
        self._require_columns(rows)
        recents = Recents.of(rows, self.codes, self.history)
        users = rows.table["user_id"].to_numpy().astype(object)
        last = len(self.signal.bias) - 1
        folds = fold_of(users) if cross_fitted else np.full(len(rows), last, dtype=np.int64)
        index = torch.from_numpy(recents.index)
        return RankerInputs(
            structured=torch.from_numpy(self._structured(rows, recents)),
            cosines=torch.from_numpy(self._cosines(rows)),
            users=torch.from_numpy(np.unique(users.astype(str), return_inverse=True)[1]),
            items=torch.from_numpy(code_items(rows.table["item_id"].combine_chunks(), self.codes)),
            folds=torch.from_numpy(folds),
            texts=tuple(self.text(rows, name) for name in (ITEM_TEXT, *self.user_texts)),
            recent_items=Distinct(torch.from_numpy(recents.items), index),
            recent_events=Distinct(self.events(recents), index),
            tables=self.tables,
        )

    def _require_columns(self, rows: TrainingSet) -> None:
        missing = sorted(set(self.columns) - set(_feature_names(rows)))
        if missing:
            raise schema_error(
                "features of the ranker",
                got=f"rows without {', '.join(missing)}",
                expected="every feature that it was trained on",
                remedy="Retrieve the feature service it was trained on, or train again.",
            )

    def _structured(self, rows: TrainingSet, recents: Recents) -> Floats:
        """(N, S): standardised numbers, 1 where absent, categories."""
        found = derive_numbers(rows, self.profile, self.prior) | recents.summary(self.prior)
        absent = np.full(len(rows), np.nan)
        raw = np.stack([found.get(name, absent) for name in self.scales], axis=1)
        blocks = [*self.standardise(raw)]
        blocks += [
            one_hot(rows, name, vocabulary) for name, vocabulary in self.vocabularies.items()
        ]
        return np.concatenate(blocks, axis=1, dtype=np.float32)

    def standardise(self, raw: NDArray[np.float64]) -> tuple[Floats, NDArray[np.bool_]]:
        """(N, k) numbers in the order of `scales` in deviations, 0 where absent; what is absent."""
        mean, deviation = np.array(list(self.scales.values())).T
        scaled = np.clip((raw - mean) / deviation, -CLIP, CLIP)
        missing = np.isnan(scaled)
        return np.where(missing, 0.0, scaled).astype(np.float32), missing

    def _cosines(self, rows: TrainingSet) -> Floats:
        """(N, U) of the item with each vector of the user, 0 where one is absent."""
        cosines = np.zeros((len(rows), len(self.user_texts)), dtype=np.float32)
        item = vectors(rows, ITEM_TEXT)
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

    def text(self, rows: TrainingSet, name: str) -> Distinct:
        """The vector feature `name` of the rows in the ranker's basis."""
        found = vectors(rows, name)
        if found is None or self.basis is None:
            width = self.item_texts.shape[1]
            return Distinct(torch.zeros(1, width), torch.full((len(rows),), -1))
        projected = self.basis.project(np.asarray(found.values))
        return Distinct(_with_zero_row(projected), torch.from_numpy(found.index.copy()))

    def events(self, recents: Recents) -> Tensor:
        """(m + 1, H, 4): mask, positive, centred value, age."""
        values = recents.centred_values(self.value_spread)
        columns = (recents.mask.astype(np.float32), recents.positives, values, recents.ages)
        return torch.from_numpy(np.stack(columns, axis=2))


def vectors(rows: TrainingSet, view: str) -> Indexed | None:
    """The vector feature of a view, named after the view or `view__feature`; None without one."""
    return next(
        (column for name, column in rows.vectors.items() if name.partition("__")[0] == view), None
    )


def _feature_names(rows: TrainingSet) -> tuple[str, ...]:
    scalars = [name for name in rows.table.column_names if "__" in name]
    return tuple(sorted([*scalars, *rows.vectors, *rows.lists]))


def _with_zero_row(matrix: Floats) -> Tensor:
    return torch.from_numpy(np.pad(matrix, ((0, 1), (0, 0))))


def _codes(item_ids: tuple[str, ...]) -> dict[str, int]:
    return {item_id: code for code, item_id in enumerate(item_ids, start=1)}


def _item_ids(rows: TrainingSet) -> tuple[str, ...]:
    return tuple(sorted(rows.table["item_id"].unique().drop_null().to_pylist()))


def _fit_texts(
    rows: TrainingSet, items: NDArray[np.int32], n_codes: int, width: int
) -> tuple[TextBasis | None, Floats]:
    """The basis of the rows' item vectors, and each known item's newest vector in it."""
    found = vectors(rows, ITEM_TEXT)
    present = np.flatnonzero(found.index >= 0) if found is not None else np.array([], dtype=int)
    if found is None or len(present) == 0:
        return None, np.zeros((n_codes, 1), dtype=np.float32)
    matrix = np.asarray(found.values)
    basis = TextBasis.fit(matrix[np.unique(found.index[present])], width)
    newest = np.full(n_codes, -1)
    newest[items[present]] = found.index[present]  # of several, numpy keeps the last: the newest
    newest[0] = -1
    texts = np.zeros((n_codes, basis.width), dtype=np.float32)
    texts[newest >= 0] = basis.project(matrix[newest[newest >= 0]])
    return basis, texts


def _scale(column: NDArray[np.float64]) -> tuple[float, float]:
    known = column[np.isfinite(column)]
    if len(known) == 0:
        return 0.0, 1.0
    deviation = float(known.std())
    return float(known.mean()), deviation if deviation > 1e-9 else 1.0


def _vocabulary(rows: TrainingSet, name: str) -> tuple[str, ...]:
    """The most frequent values, ties by name; each distinct list counts once per row."""
    flat, lengths, index = category_lists(rows, name)
    uses = np.bincount(index[index >= 0], minlength=len(lengths))
    coded = flat.dictionary_encode()
    totals = np.bincount(
        coded.indices.to_numpy(), np.repeat(uses, lengths), minlength=len(coded.dictionary)
    )
    ranked = sorted(zip((-totals).tolist(), coded.dictionary.to_pylist(), strict=True))
    return tuple(value for _, value in ranked[:MAX_CATEGORIES])


def one_hot(rows: TrainingSet, name: str, vocabulary: tuple[str, ...]) -> Floats:
    """(N, c + 2): the vocabulary's values, then any other value, then absent."""
    width = len(vocabulary) + 2
    if not has_feature(rows, name):
        return np.tile(np.eye(width, dtype=np.float32)[-1], (len(rows), 1))
    flat, lengths, index = category_lists(rows, name)
    coded = flat.dictionary_encode()
    place = {value: at for at, value in enumerate(vocabulary)}
    places = np.array(
        [place.get(value, width - 2) for value in coded.dictionary.to_pylist()], dtype=np.int64
    )
    matrix = np.zeros((len(lengths) + 1, width), dtype=np.float32)
    matrix[np.repeat(np.arange(len(lengths)), lengths), places[coded.indices.to_numpy()]] = 1.0
    matrix[-1, -1] = 1.0  # the index -1
    return matrix[index]
