"""The categories of an item as known at a time."""

from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl

from transformations.event_log import Ints
from transformations.id_map import IdMap
from transformations.item_versions import ItemVersions


class CategoryLookup:
    """The distinct categories of each version of each item.

    With several `columns` a category is "column=value".

    Attributes
    ----------
    names : the categories, ascending
    """

    def __init__(self, versions: ItemVersions, columns: tuple[str, ...]) -> None:
        self._versions = versions
        pairs = _pairs(versions, columns)
        self.names = IdMap.of(pairs["category"].to_arrow())
        self._codes = self.names.codes(pairs["category"].to_arrow())
        # the categories of version i are _codes[_start[i]:_start[i + 1]]
        self._start = np.searchsorted(
            pairs["version"].to_numpy(), np.arange(len(versions.item) + 1)
        )

    def of_events(self, item: Ints, time: Ints) -> tuple[Ints, Ints]:
        """Pairs (event, category), (p,) each, for n events: one per event and category.

        Where event 0 has the categories 1 and 2, event 1 none and event 2 the category 1, they are
        ([0, 0, 2], [1, 2, 1]).
        """
        version = self._versions.as_of(item, time)
        n_each = np.diff(self._start)[version]
        event = np.repeat(np.arange(len(version)), n_each)
        first_pair = np.cumsum(n_each) - n_each
        within = np.arange(len(event)) - first_pair[event]
        return event, self._codes[self._start[version][event] + within]

    def at(self, item: int, time: int) -> list[str]:
        """The categories of one item (its code) at a time in microseconds."""
        return self._of_version[self._versions.row_at(item, time)]

    @cached_property
    def _of_version(self) -> list[list[str]]:
        named = self.names.take(self._codes).to_pylist()
        return [named[start:end] for start, end in pairwise(self._start.tolist())]


def _pairs(versions: ItemVersions, columns: tuple[str, ...]) -> pl.DataFrame:
    """Distinct (version, category), ascending."""
    long = [pl.DataFrame(schema={"version": pl.Int64, "category": pl.String})]
    for column in columns:
        frame = pl.DataFrame({"category": pl.Series(versions.table[column])})
        frame = frame.select(pl.int_range(pl.len()).alias("version"), "category")
        if isinstance(frame.schema["category"], pl.List):
            frame = frame.explode("category")
        name = pl.col("category").cast(pl.String)
        if len(columns) > 1:
            name = pl.format("{}={}", pl.lit(column), name)
        long.append(frame.drop_nulls("category").with_columns(category=name))
    return pl.concat(long).unique().sort("version", "category")
