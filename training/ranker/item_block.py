"""Items as the ranker reads them, encoded once per version of their rows."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ItemBlock:
    """n encoded items.

    Attributes
    ----------
    numbers : (n, k) float64 in the order of `RequestEncoder.item_numbers`; NaN where absent, ages
        as the instant in seconds since the epoch
    one_hot : (n, c) float32, columns of the items' categories
    categories : (n, w) int32, numbers of `RequestEncoder.category`, 0 past the end
    has_categories : (n,) bool
    vectors : (n, d) float32, zeros where absent
    has_vector : (n,) bool
    texts : (n, p) float32, the vectors projected
    """

    numbers: NDArray[np.float64]
    one_hot: Floats
    categories: NDArray[np.int32]
    has_categories: NDArray[np.bool_]
    vectors: Floats
    has_vector: NDArray[np.bool_]
    texts: Floats

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: NDArray[np.int64]) -> "ItemBlock":
        """The given rows, in the given order."""
        return ItemBlock(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_room(self, n: int) -> "ItemBlock":
        """n empty rows of the same widths. The system gives them memory as they are filled."""
        arrays = (getattr(self, field.name) for field in fields(self))
        return ItemBlock(*(np.zeros((n, *array.shape[1:]), array.dtype) for array in arrays))

    def put(self, rows: NDArray[np.int64], items: "ItemBlock") -> "ItemBlock":
        """These items with `items` in the given rows, which are changed in place."""
        width = max(self.categories.shape[1], items.categories.shape[1])
        wide, items = self._widened(width), items._widened(width)
        for field in fields(self):
            getattr(wide, field.name)[rows] = getattr(items, field.name)
        return wide

    def _widened(self, width: int) -> "ItemBlock":
        more = width - self.categories.shape[1]
        if not more:
            return self
        return replace(self, categories=np.pad(self.categories, ((0, 0), (0, more))))
