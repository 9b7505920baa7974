"""What is looked up by an item, and an item's row in these tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, device

from transformations.id_map import IdMap


@dataclass(frozen=True)
class ItemTables:
    """v items and, in row 0, the unknown item; f folds (see `item_factors`). Not trained.

    Attributes
    ----------
    bias : (f, v + 1)
    factors : (f, v + 1, K, r), K kinds of factors
    text : (v + 1, p), zeros where the item has no vector
    """

    bias: Tensor
    factors: Tensor
    text: Tensor

    @cached_property
    def text_mask(self) -> Tensor:
        """(v + 1,) bool."""
        return (self.text != 0).any(dim=1)

    def to(self, where: device) -> "ItemTables":
        """The same on a device."""
        return ItemTables(self.bias.to(where), self.factors.to(where), self.text.to(where))


def code_items(
    items: IdMap, item_ids: pa.Array | pa.ChunkedArray | Iterable[str]
) -> NDArray[np.int32]:
    """(n,) the row of each item in tables of `items`, 0 where the item is unknown.

    >>> code_items(IdMap.of(["a", "b"]), ["b", "new"])
    array([2, 0], dtype=int32)
    """
    return (items.codes(item_ids) + 1).astype(np.int32)
