"""The texts of known items, looked up by the recent events of users, and an item's row in them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor, device

from transformations.id_map import IdMap


@dataclass(frozen=True)
class ItemTexts:
    """v items and, in row 0, the unknown item. Not trained.

    Attributes
    ----------
    vectors : (v + 1, p), zeros where the item has no vector
    """

    vectors: Tensor

    @cached_property
    def mask(self) -> Tensor:
        """(v + 1,) bool, whether there is a vector."""
        return (self.vectors != 0).any(dim=1)

    def to(self, where: device) -> "ItemTexts":
        """The same on a device."""
        return ItemTexts(self.vectors.to(where))


def code_items(
    items: IdMap, item_ids: pa.Array | pa.ChunkedArray | Iterable[str]
) -> NDArray[np.int32]:
    """(n,) the row of each item in the texts of `items`, 0 where the item is unknown.

    >>> code_items(IdMap.of(["a", "b"]), ["b", "new"])
    array([2, 0], dtype=int32)
    """
    return (items.codes(item_ids) + 1).astype(np.int32)
