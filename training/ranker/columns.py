"""The columns of a training set by the names that the project's own views give them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column, split_column
from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.context import CONTEXT, is_context
from intake.dataset import Dataset
from transformations.names import (
    COLLABORATIVE,
    ITEM_ATTRIBUTES,
    ITEM_PROFILE,
    USER_PORTRAIT,
    USER_PROFILE,
)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]

OUTCOME = "outcome:"  # before an event_type: 1 where the example is such an event


@dataclass(frozen=True)
class Profile:
    """The profile columns of a data set, by their names in a training set.

    Attributes
    ----------
    numeric, categorical : of items and users
    item_categorical : those of `categorical` that statistics of users count
    item_written : those of `categorical` that a language model wrote of items
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    item_categorical: tuple[str, ...]
    item_written: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> "Profile":
        """The columns of `[items]`, `[users]`, `[interactions.context]` and `[writer]`."""
        items, users, context = dataset.items, dataset.users, dataset.interactions.context
        categories = _columns(ITEM_PROFILE, items.categorical)
        writer = dataset.writer
        written = _columns(ITEM_ATTRIBUTES, writer.attributes if writer else ())
        of_users = writer.user.attributes if writer and writer.user else ()
        return cls(
            _columns(ITEM_PROFILE, items.numeric)
            + (_columns(USER_PROFILE, users.numeric) if users else ())
            + _columns(CONTEXT, context.numeric),
            categories
            + (_columns(USER_PROFILE, users.categorical) if users else ())
            + _columns(CONTEXT, (*context.categorical, *context.clock))
            + _columns(USER_PORTRAIT, of_users)
            + written,
            categories,
            written,
        )

    @property
    def categories_of_items(self) -> tuple[str, ...]:
        """All categories of items, given or written."""
        return self.item_categorical + self.item_written


def _columns(view: str, features: Sequence[str]) -> tuple[str, ...]:
    return tuple(feature_column(view, feature) for feature in features)


def feature_names(rows: TrainingSet) -> tuple[str, ...]:
    """Every feature, ascending; entity columns and labels are none, nor is the context."""
    scalars = [
        name
        for name in rows.table.column_names
        if split_column(name)[1] and not is_context(name) and not is_outcome(name)
    ]
    return tuple(sorted([*scalars, *rows.vectors, *rows.lists]))


def is_outcome(name: str) -> bool:
    """Whether it is what an example became, which is a label."""
    return name.startswith(OUTCOME)


def outcome_columns(rows: TrainingSet) -> list[str]:
    """The columns of outcomes, in the order of the table."""
    return [name for name in rows.table.column_names if is_outcome(name)]


def is_collaborative(name: str) -> bool:
    """Whether it is one of the numbers that `Collaboration` computes, not a feature of a view."""
    return split_column(name)[0] == COLLABORATIVE


def has_feature(rows: TrainingSet, name: str) -> bool:
    """Whether the rows have the feature, as a scalar or as lists."""
    return name in rows.table.column_names or name in rows.lists


def epoch_seconds(rows: TrainingSet) -> Numbers:
    """(n,) the rows' event timestamps, seconds since the epoch."""
    seconds: Numbers = (
        rows.table["event_timestamp"].cast(TIMESTAMP).cast(pa.int64()).to_numpy() / 1e6
    )
    return seconds


def number(rows: TrainingSet, name: str) -> Numbers:
    """(n,) float64 of a scalar column, NaN where null.

    Raises
    ------
    SchemaError
        The column is not there or not numeric.
    """
    if name not in rows.table.column_names:
        raise schema_error(
            f"feature {name!r}",
            got=f"columns {rows.table.column_names}",
            expected="the columns that the ranker was fitted on",
            remedy="Retrieve the same feature service.",
        )
    try:
        values: Numbers = rows.table[name].cast(pa.float64()).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"feature {name!r}",
            got=rows.table[name].type,
            expected="a number",
            remedy="Declare it as categorical in dataset.toml.",
        ) from error
    return values


def list_values(rows: TrainingSet, name: str) -> pa.ListArray:
    """The m distinct lists of a list feature.

    Raises
    ------
    SchemaError
        There is no such feature, or it is a vector.
    """
    found = rows.lists[name].values if name in rows.lists else None
    if found is None or isinstance(found, np.ndarray):
        raise schema_error(
            f"feature {name!r}",
            got=f"list features {sorted(rows.lists)}",
            expected="a list feature of that name",
            remedy="Retrieve the feature service that the ranker reads.",
        )
    return found


def vectors(rows: TrainingSet, view: str) -> Indexed | None:
    """The vector feature of a view, named after the view or `view__feature`; None without one."""
    named = (column for name, column in rows.vectors.items() if split_column(name)[0] == view)
    return next(named, None)
