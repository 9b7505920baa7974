"""The categories of the items of a catalogue, as a matrix."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp

from serving.vector_index import Rows


@dataclass(frozen=True)
class ItemCategories:
    """One categorical column of n items.

    Attributes
    ----------
    names : c categories
    membership : (n, c) 1 where an item has a category
    """

    names: tuple[str, ...]
    membership: sp.csr_matrix

    @classmethod
    def of(cls, column: pl.Series) -> "ItemCategories":
        """From n texts, or lists of texts; null is no category.

        >>> found = ItemCategories.of(pl.Series([["Drama"], ["Comedy", "Drama"], None]))
        >>> found.names, found.membership.toarray().tolist()
        (('Comedy', 'Drama'), [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
        """
        frame = pl.DataFrame({"category": column}).with_row_index("row")
        if isinstance(column.dtype, pl.List):
            frame = frame.explode("category")
        frame = frame.cast({"category": pl.String})
        pairs = frame.drop_nulls("category").unique()
        names = pairs["category"].unique().sort()
        codes = pairs["category"].replace_strict(
            names, np.arange(len(names)), return_dtype=pl.Int64
        )
        ones = np.ones(len(pairs), np.float32)
        at = (pairs["row"].to_numpy(), codes.to_numpy())
        matrix = sp.csr_matrix((ones, at), shape=(len(column), len(names)))
        return cls(tuple(names.to_list()), matrix)

    def of_rows(self, rows: Rows) -> sp.csr_matrix:
        """(m, c) of m rows; a row of -1 has no category."""
        known = self.membership[np.maximum(rows, 0)]
        return sp.csr_matrix(known.multiply((rows >= 0)[:, None])) if (rows < 0).any() else known
