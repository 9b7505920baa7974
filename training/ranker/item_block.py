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
    codes : (n, v) int32, codes of the items' categories, 0 where none
    categories : (n, w) int32, numbers of `RequestEncoder.category`, 0 past the end
    has_categories : (n,) bool
    vectors : (n, d) float32, zeros where absent
    has_vector : (n,) bool
    texts : (n, p) float32, the vectors projected
    """

    numbers: NDArray[np.float64]
    codes: NDArray[np.int32]
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
        wide, items = self._widened(items), items._widened(self)
        for field in fields(self):
            getattr(wide, field.name)[rows] = getattr(items, field.name)
        return wide

    def _widened(self, other: "ItemBlock") -> "ItemBlock":
        """With lists as long as those of `other`, at least."""

        def pad(mine: NDArray[np.int32], theirs: NDArray[np.int32]) -> NDArray[np.int32]:
            more = theirs.shape[1] - mine.shape[1]
            return np.pad(mine, ((0, 0), (0, more))) if more > 0 else mine

        return replace(
            self,
            codes=pad(self.codes, other.codes),
            categories=pad(self.categories, other.categories),
        )
