"""At most so many items of a category in one answer."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from serving.catalogue import Catalogue
from serving.vector_index import Rows


class Caps:
    """The bounds of one answer from m items.

    An item counts under each of its categories; one without a category is free.

    Parameters
    ----------
    max_per : by categorical column the most items that share a category
    rows : (m,) catalogue rows, -1 for an item that the catalogue does not have
    """

    def __init__(self, catalogue: Catalogue, max_per: Mapping[str, int], rows: Rows) -> None:
        self._n = len(rows)
        self._bounds = [
            (catalogue.columns.categories(name).of_rows(rows), most)
            for name, most in max_per.items()
        ]
        self._counts = [np.zeros(of.shape[1], np.float32) for of, _ in self._bounds]

    def allowed(self) -> NDArray[np.bool_]:
        """(m,) which items the answer has room for."""
        found = np.ones(self._n, dtype=bool)
        for (membership, most), counts in zip(self._bounds, self._counts, strict=True):
            found &= membership @ (counts >= most).astype(np.float32) == 0
        return found

    def take(self, at: int) -> None:
        """One more item of the answer."""
        for (membership, _), counts in zip(self._bounds, self._counts, strict=True):
            counts += membership[at].toarray()[0]
