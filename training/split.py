"""Train, validation and test rows by one global order of time, or by each user's last events."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.times import to_micros
from intake.split_settings import BY_TIME, DEFAULT_SHARE, SplitConfig
from transformations.collaborative.histories import Events
from transformations.names import EVENT_ORDER

Rows = NDArray[np.int64]

# Of fewer instants a user's are all trained on: nothing would be left to know the user by.
_MIN_INSTANTS = 3


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


def split_rows(table: pa.Table, how: SplitConfig = BY_TIME) -> Split:
    """The rows of a training set as `[split]` has it.

    Parameters
    ----------
    table : user_id, item_id and event_timestamp; rows in any order

    Raises
    ------
    SchemaError
        No row lies where `[split]` cuts, so that a part is empty.
    """
    if how.by == "leave_one_out":
        return leave_one_out(table)
    split = split_by_time(table, test=_share(how.test), validation=_share(how.validation))
    if how.test_from is None:
        return split
    rows = split.all
    times = table["event_timestamp"].cast(pa.int64()).to_numpy()[rows]
    n_past = int(np.searchsorted(times, to_micros(how.test_from)))
    if how.validation_from is None:
        n_train = n_past - int(n_past * _share(how.validation))
    else:
        n_train = int(np.searchsorted(times, to_micros(how.validation_from)))
    split = Split(rows[:n_train], rows[n_train:n_past], rows[n_past:])
    for part, start in (("validation", how.validation_from), ("test", how.test_from)):
        _require_rows(getattr(split, part), part, start, times)
    _require_rows(split.train, "train", None, times)
    return split


def split_events(events: Events, how: SplitConfig = BY_TIME) -> Split:
    """As `split_rows`, of a log: its codes are in the order of the ids."""
    table = {"event_timestamp": events.time, "user_id": events.user, "item_id": events.item}
    return split_rows(pa.table(table), how)


def leave_one_out(table: pa.Table) -> Split:
    """The rows of each user's last instant test, those of the instant before validate.

    Users of fewer than three instants are trained on. Each part is in the order of time.

    Examples
    --------
    >>> table = pa.table({"user_id": list("aaaab"), "item_id": list("xyzzx"),
    ...                   "event_timestamp": [1, 2, 3, 3, 4]})
    >>> leave_one_out(table)
    Split(train=array([0, 4]), validation=array([1]), test=array([2, 3]))
    """
    rows = _in_order(table)
    keys = pl.DataFrame(table.select(["user_id", "event_timestamp"]))[rows]
    instants = keys.select(
        back=pl.col("event_timestamp").rank("dense", descending=True).over("user_id"),
        n=pl.col("event_timestamp").n_unique().over("user_id"),
    )
    back = instants["back"].to_numpy()
    is_held = instants["n"].to_numpy() >= _MIN_INSTANTS
    is_test, is_validation = is_held & (back == 1), is_held & (back == 2)
    return Split(rows[~is_test & ~is_validation], rows[is_validation], rows[is_test])


def _share(given: float | None) -> float:
    return DEFAULT_SHARE if given is None else given


def _require_rows(rows: Rows, part: str, start: datetime | None, times: Rows) -> None:
    if len(rows):
        return
    ends = [f"{np.datetime64(int(each), 'us')}Z" for each in times[[0, -1]]] if len(times) else []
    raise schema_error(
        f"[split] {part}_from" if start else "[split]",
        got=f"no {part} row" + (f" from {start.isoformat()} on" if start else ""),
        expected=f"a cut within the examples, which are from {' to '.join(ends)}",
        remedy="Move the cut, or give shares: test = 0.1.",
    )


def _in_order(table: pa.Table) -> Rows:
    """Row numbers by time, user and item."""
    order = pc.sort_indices(table, sort_keys=[(column, "ascending") for column in EVENT_ORDER])
    rows: Rows = order.to_numpy().astype(np.int64)
    return rows


def split_by_time(
    table: pa.Table, *, test: float = DEFAULT_SHARE, validation: float = DEFAULT_SHARE
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
    rows = _in_order(table)
    n_past = len(rows) - int(len(rows) * test)
    n_train = n_past - int(n_past * validation)
    return Split(rows[:n_train], rows[n_train:n_past], rows[n_past:])
