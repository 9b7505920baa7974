"""A user as the ranker reads them, encoded once per request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.training_set import TrainingSet
from training.ranker.batching import Distinct
from training.ranker.category_columns import Codes
from training.ranker.columns import Floats, list_values, vectors
from training.ranker.derived_numbers import CATEGORIES, CATEGORY_EVENTS, CATEGORY_POSITIVES
from training.ranker.recent_lists import RecentLists


@dataclass(frozen=True)
class CategoryCounts:
    """How many events, and how many positive ones, a user has had in some categories.

    Attributes
    ----------
    is_known : whether the user has such statistics
    """

    categories: Sequence[str]
    events: NDArray[np.generic]
    positives: NDArray[np.generic]
    is_known: bool = True

    @classmethod
    def of(cls, users: TrainingSet, row: int) -> "CategoryCounts | None":
        """Those of a row, without any where they are absent; None where no row can have them."""
        if CATEGORIES not in users.lists:
            return None
        at = int(users.lists[CATEGORIES].index[row])
        if at < 0:
            nothing = np.zeros(0)
            return cls((), nothing, nothing, is_known=False)
        categories, events, positives = (
            list_values(users, name)[at].values
            for name in (CATEGORIES, CATEGORY_EVENTS, CATEGORY_POSITIVES)
        )
        return cls(categories.to_pylist(), _numpy(events), _numpy(positives))


@dataclass(frozen=True)
class UserBlock:
    """One encoded user.

    Attributes
    ----------
    numbers : by name, NaN where absent
    codes : (v,) int32, codes of the user's categories, 0 where none
    counts : None where the data set has no categories
    vectors : (d,) by name, the text vectors that the user has
    texts : each vector projected, of one row
    recent : the one list, or none
    """

    numbers: Mapping[str, np.floating]
    codes: Codes
    counts: CategoryCounts | None
    vectors: Mapping[str, Floats]
    texts: Sequence[Distinct]
    recent: RecentLists


def vectors_of(users: TrainingSet, row: int, names: Sequence[str]) -> dict[str, Floats]:
    """(d,) by name, the text vectors that a row has."""
    found = {name: vectors(users, name) for name in names}
    return {
        name: column.values[column.index[row]]
        for name, column in found.items()
        if column is not None and column.index[row] >= 0
    }


def _numpy(column: pa.Array) -> NDArray[np.generic]:
    values: NDArray[np.generic] = column.to_numpy(zero_copy_only=False)
    return values
