"""Train, validation and test rows by one global order of time."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from transformations.names import EVENT_ORDER

Rows = NDArray[np.int64]

TEST_SHARE = 0.1
VALIDATION_SHARE = 0.1  # of what is not test


@dataclass(frozen=True)
class Split:
    """Row numbers of a training set, disjoint, each in the order of time."""

    train: Rows
    validation: Rows
    test: Rows

    @property
    def past(self) -> Rows:
        """Every row before the test rows: train, then validation."""
        return np.concatenate([self.train, self.validation])

    @property
    def all(self) -> Rows:
        """Every row: train, validation, then test."""
        return np.concatenate([self.past, self.test])


def split_by_time(
    table: pa.Table, *, test: float = TEST_SHARE, validation: float = VALIDATION_SHARE
) -> Split:
    """The last `test` of the rows by (time, user, item), before them `validation` of the rest.

    Parameters
    ----------
    table : user_id, item_id and event_timestamp; rows in any order
    test, validation : shares in [0, 1); `validation` is a share of the rows that are not test rows.
        Shares round down, so that a small table keeps its rows for training.

    Raises
    ------
    SchemaError
        A share is outside [0, 1).

    Examples
    --------
    >>> from datetime import datetime
    >>> days = [datetime(2024, 1, day) for day in (3, 1, 2)]
    >>> table = pa.table({"user_id": ["u"] * 3, "item_id": ["i"] * 3, "event_timestamp": days})
    >>> split_by_time(table, test=0.4, validation=0.5)
    Split(train=array([1]), validation=array([2]), test=array([0]))
    """
    for name, share in (("test", test), ("validation", validation)):
        if not 0 <= share < 1:
            raise schema_error(
                f"share of {name} rows",
                got=share,
                expected="a number in [0, 1)",
                remedy="Pass a share, such as 0.1.",
            )
    order = pc.sort_indices(table, sort_keys=[(column, "ascending") for column in EVENT_ORDER])
    rows: Rows = order.to_numpy().astype(np.int64)
    n_past = len(rows) - int(len(rows) * test)
    n_train = n_past - int(n_past * validation)
    return Split(rows[:n_train], rows[n_train:n_past], rows[n_past:])
