"""Which categories a text means without naming them, as "cartoons" means "Animation"."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from serving.vector_index import Moments, Rows, VectorIndex, Vectors
from serving.wishes.item_values import ItemValues
from transformations.embedder import Embedder

_MOST_VALUES = 200  # of a column: another has names of things, and no kinds
_SAMPLE = 200  # items of a value, evenly from the popular to the rare
# That the items of a category are near to a text tells more than its name does. A category is meant
# from `_LEAST` of what the nearest of as many would have by chance, and from `_NEAR` of the
# nearest one; and its name must be nearer than two names are.
_OF_ITEMS, _LEAST, _NEAR, _OF_NAME = 2.0, 0.85, 0.6, 0.5
_LEAST_SPREAD = 0.05


@dataclass(frozen=True)
class Meanings:
    """k categories as vectors of one encoder.

    Attributes
    ----------
    codes : (k,) their places among the values
    names : (k, d) of their names
    items : (k, d) means of the vectors of their items
    moments : of the vectors of items
    usual, spread : mean and deviation of the cosine of two names
    """

    codes: Rows
    names: Vectors
    items: Vectors
    moments: Moments
    usual: float
    spread: float

    @classmethod
    def of(cls, values: ItemValues, index: VectorIndex, embedder: Embedder) -> "Meanings":
        """Of columns with few values. Raises what `Embedder.queries` does."""
        own = values.values[: values.n_categories]
        n_values = Counter(value.column for value in own)
        few = [at for at, value in enumerate(own) if n_values[value.column] <= _MOST_VALUES]
        names, present = embedder.queries([own[at].text for at in few])
        codes = np.array(few, dtype=np.int64)[present]
        names = names[present]
        items = [_mean(index, values.rows([code])) for code in codes.tolist()]
        between = (names @ names.T)[~np.eye(len(names), dtype=bool)]
        usual, spread = (between.mean(), between.std()) if len(between) else (0.0, 0.0)
        matrix = np.array(items, dtype=np.float32).reshape(len(codes), names.shape[1])
        spread = max(float(spread), _LEAST_SPREAD)
        return cls(codes, names, matrix, index.moments, float(usual), spread)

    def near(self, text: Vectors) -> list[int]:
        """Places of the values that a (d,) text means, the nearest first."""
        if not len(self.codes):
            return []
        of_name = (self.names @ text - self.usual) / self.spread
        nearness = of_name + _OF_ITEMS * self.moments.standardise(text, self.items @ text)
        nearness = np.where(of_name >= _OF_NAME, nearness, -np.inf)
        least = _LEAST * math.sqrt(2 * math.log(max(2, len(self.codes))))
        order = np.argsort(-nearness, kind="stable")
        is_meant = nearness[order] >= max(least, _NEAR * float(nearness.max()))
        return [int(code) for code in self.codes[order[is_meant]]]


def _mean(index: VectorIndex, rows: Rows) -> Vectors:
    known = rows[index.present[rows]]
    known = known[:: 1 + len(known) // _SAMPLE]
    return index.vectors[known].mean(axis=0) if len(known) else index.moments.mean
