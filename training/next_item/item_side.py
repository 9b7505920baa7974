"""What is known of items beside what others chose: text, categories and numbers, as one matrix."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feast_fusion.training_set import TrainingSet
from training.ranker.category_columns import fit_vocabulary, one_hot
from training.ranker.columns import Floats, Numbers, Profile, has_feature, number, vectors
from training.ranker.text_projection import TextProjection
from transformations.names import ITEM_EMBEDDING, ITEM_PROFILE

_TEXT_WIDTH = 64
_CLIP = 4.0


@dataclass(frozen=True)
class ItemSide:
    """How rows of items become a matrix: projected text, categories, numbers; 0 where absent.

    Attributes
    ----------
    projection : of the text vectors, None where there are none
    vocabularies : by categorical feature its values
    scales : by numeric feature mean and standard deviation
    """

    projection: TextProjection | None
    vocabularies: Mapping[str, tuple[str, ...]]
    scales: Mapping[str, tuple[float, float]]

    @classmethod
    def fit(cls, rows: TrainingSet, profile: Profile) -> "ItemSide":
        """From one row per item."""
        texts = _vectors(rows)
        known = texts.any(axis=1)
        numeric = [name for name in profile.numeric if name.startswith(ITEM_PROFILE)]
        return cls(
            TextProjection.fit(texts[known], _TEXT_WIDTH) if known.any() else None,
            {
                name: fit_vocabulary(rows, name)
                for name in profile.item_categorical
                if has_feature(rows, name)
            },
            {name: _scale(number(rows, name)) for name in numeric},
        )

    def texts(self, rows: TrainingSet) -> Floats:
        """(n, p) projected text vectors of length 1 of one row per item, zeros where absent."""
        if self.projection is None:
            return np.zeros((len(rows), 1), np.float32)
        texts = _vectors(rows)
        if texts.shape[1] != len(self.projection.mean):
            return np.zeros((len(rows), self.projection.width), np.float32)
        projected = self.projection.project(texts)
        projected[~texts.any(axis=1)] = 0.0
        return projected

    def of(self, rows: TrainingSet) -> Floats:
        """(n, s) of one row per item; numbers and text have a spread of about 1."""
        texts = self.texts(rows)
        blocks = [texts * np.float32(np.sqrt(texts.shape[1]))]
        blocks += [
            one_hot(rows, name, values)[:, : len(values)]
            for name, values in self.vocabularies.items()
        ]
        for name, (mean, deviation) in self.scales.items():
            scaled = np.clip((number(rows, name) - mean) / deviation, -_CLIP, _CLIP)
            blocks.append(np.nan_to_num(scaled)[:, None].astype(np.float32))
        return np.concatenate(blocks, axis=1)


def _vectors(rows: TrainingSet) -> Floats:
    """(n, d) text vectors, zeros where a row has none; (n, 1) where no row has."""
    found = vectors(rows, ITEM_EMBEDDING)
    if found is None or not len(found.values):
        return np.zeros((len(rows), 1), np.float32)
    matrix = np.pad(np.asarray(found.values), ((0, 1), (0, 0)))
    return matrix[found.index]


def _scale(column: Numbers) -> tuple[float, float]:
    known = column[np.isfinite(column)]
    if not len(known):
        return 0.0, 1.0
    return float(known.mean()), float(known.std()) or 1.0
