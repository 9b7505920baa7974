"""The columns of items that a filter reads, and which items of a catalogue pass one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from serving.answers import ColumnValue
from serving.filters.predicate import ItemColumn, read_predicate
from serving.variety.item_categories import ItemCategories
from serving.vector_index import Rows
from training.ranker.columns import has_feature, list_values
from transformations.names import ITEM_ATTRIBUTES, ITEM_PROFILE

Mask = NDArray[np.bool_]

_KEPT = 64  # masks of a catalogue, a byte an item each


@dataclass(frozen=True)
class ItemColumns:
    """The filterable columns of n items. Never changes; safe for many threads.

    Attributes
    ----------
    frame : n rows: float64, strings, or lists of strings
    columns : what each column is
    categorical : those that hold categories
    """

    frame: pl.DataFrame
    columns: dict[str, ItemColumn]
    categorical: tuple[str, ...]

    @classmethod
    def of(cls, rows: TrainingSet, dataset: Dataset) -> "ItemColumns":
        """From one row per item: the numeric, categorical and written columns of a data set."""
        series = [column_series(rows, name, column) for name, column in _declared(rows, dataset)]
        columns = {each.name: _described(each) for each in series}
        categorical = tuple(name for name in columns if name not in dataset.items.numeric)
        return cls(pl.DataFrame(series), columns, categorical)

    @cached_property
    def categories(self) -> Callable[[str], ItemCategories]:
        """Categorical column -> the categories of the items."""
        return lru_cache(maxsize=None)(lambda name: ItemCategories.of(self.frame[name]))

    def values_of(self, rows: Rows) -> list[dict[str, ColumnValue]]:
        """Of each of m rows its values by column, without nulls; of a row of -1 none."""
        if not self.columns:
            return [{} for _ in rows]
        known = self.frame[np.maximum(rows, 0).tolist()].to_dicts()
        return [
            {name: value for name, value in each.items() if value is not None} if row >= 0 else {}
            for row, each in zip(rows.tolist(), known, strict=True)
        ]

    @cached_property
    def passing(self) -> Callable[[str], Mask]:
        """Filter -> (n,) whether an item passes, read-only; an unknown truth is no pass.

        Raises
        ------
        FilterError
            The filter is none, or does not fit the columns.
        """
        return lru_cache(maxsize=_KEPT)(self._evaluate)

    def _evaluate(self, text: str) -> Mask:
        predicate = read_predicate(text, self.columns)
        found = self.frame.select(passing=predicate.fill_null(value=False))
        passing: Mask = found["passing"].to_numpy()
        passing.setflags(write=False)
        return passing


def _declared(rows: TrainingSet, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Each column's name, and what it is called in the rows."""
    items, writer = dataset.items, dataset.writer
    for name in dict.fromkeys((*items.numeric, *items.categorical)):
        yield name, feature_column(ITEM_PROFILE, name)
    for name in writer.attributes if writer else ():
        column = feature_column(ITEM_ATTRIBUTES, name)
        if has_feature(rows, column):
            yield name, column


def column_series(rows: TrainingSet, name: str, column: str) -> pl.Series:
    """One column of rows under a name: float64, strings, or lists of strings."""
    if column in rows.lists:
        index = rows.lists[column].index
        values = list_values(rows, column).take(pa.array(index, mask=index < 0))
        return pl.Series(name, values, dtype=pl.List(pl.String))
    found = pl.Series(name, rows.table[column])
    return found.cast(pl.Float64).fill_nan(None) if found.dtype.is_numeric() else found


def _described(column: pl.Series) -> ItemColumn:
    """What a column is; it is a flag where it holds 0 and 1 or true and false alone."""
    known = column.drop_nulls()
    if column.dtype == pl.Float64:
        return ItemColumn("number", bool(known.is_in([0.0, 1.0]).all()))
    if column.dtype == pl.String:
        return ItemColumn("text", bool(known.str.to_lowercase().is_in(["true", "false"]).all()))
    return ItemColumn("texts", is_flag=False)
