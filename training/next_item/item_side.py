"""What is known of items beside what others chose: text, categories and numbers, as one matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feast_fusion.training_set import TrainingSet
from training.ranker.category_columns import fit_vocabulary, one_hot
from training.ranker.columns import Floats, Numbers, Profile, has_feature, number, vectors
from training.ranker.text_projection import TextProjection
from transformations.names import ITEM_EMBEDDING, ITEM_PROFILE

_TEXT_WIDTH = 64
_KNOTS = 10


@dataclass(frozen=True)
class ItemSide:
    """How rows of items become a matrix: projected text, categories, numbers; 0 where absent.

    Attributes
    ----------
    projection : of the text vectors, None where there are none
    vocabularies : by categorical feature its values
    knots : by numeric feature its quantiles, ascending
    """

    projection: TextProjection | None
    vocabularies: Mapping[str, tuple[str, ...]]
    knots: Mapping[str, tuple[float, ...]]

    @classmethod
    def fit(cls, rows: TrainingSet, profile: Profile) -> "ItemSide":
        """From one row per item."""
        texts = text_vectors(rows)
        known = texts.any(axis=1)
        numeric = [name for name in profile.numeric if name.startswith(ITEM_PROFILE)]
        return cls(
            TextProjection.fit(texts[known], _TEXT_WIDTH) if known.any() else None,
            {
                name: fit_vocabulary(rows, name)
                for name in profile.categories_of_items
                if has_feature(rows, name)
            },
            {name: _quantiles(number(rows, name)) for name in numeric},
        )

    def texts(self, rows: TrainingSet) -> Floats:
        """(n, p) projected text vectors of length 1 of one row per item, zeros where absent."""
        if self.projection is None:
            return np.zeros((len(rows), 1), np.float32)
        texts = text_vectors(rows)
        if texts.shape[1] != len(self.projection.mean):
            return np.zeros((len(rows), self.projection.width), np.float32)
        projected = self.projection.project(texts)
        projected[~texts.any(axis=1)] = 0.0
        return projected

    def of(self, rows: TrainingSet) -> Floats:
        """(n, s) of one row per item; text has a spread of about 1."""
        texts = self.texts(rows)
        blocks = [texts * np.float32(np.sqrt(texts.shape[1]))]
        blocks += [one_hot(rows, name, values) for name, values in self.vocabularies.items()]
        blocks += [soft_bins(number(rows, name), knots) for name, knots in self.knots.items()]
        return np.concatenate(blocks, axis=1)


def soft_bins(values: Numbers, knots: Sequence[float]) -> Floats:
    """(n, k) how near a number is to each knot: 1 at it, 0 at its neighbours; 0 where unknown.

    A linear model of these is a curve through the knots, so it can like the newest films most.

    >>> soft_bins(np.array([7.5, 50.0, np.nan]), (5.0, 10.0, 20.0)).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    at = np.arange(len(knots))
    if not len(at):
        return np.zeros((len(values), 0), np.float32)
    places = np.interp(values, knots, at)[:, None]
    found: Floats = np.nan_to_num(np.clip(1 - np.abs(places - at), 0, None)).astype(np.float32)
    return found


def text_vectors(rows: TrainingSet) -> Floats:
    """(n, d) text vectors, zeros where a row has none; (n, 1) where no row has."""
    found = vectors(rows, ITEM_EMBEDDING)
    if found is None or not len(found.values):
        return np.zeros((len(rows), 1), np.float32)
    matrix = np.pad(np.asarray(found.values), ((0, 1), (0, 0)))
    return matrix[found.index]


def _quantiles(column: Numbers) -> tuple[float, ...]:
    known = column[np.isfinite(column)]
    if not len(known):
        return ()
    return tuple(np.unique(np.quantile(known, np.linspace(0, 1, _KNOTS))).tolist())
