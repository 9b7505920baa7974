"""The interactions as arrays: the events of one user (or one item) together, in replay order."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.times import TIMESTAMP
from transformations.id_map import IdMap
from transformations.schema import CAUSED_AFTER_US

Ints = NDArray[np.int64]

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


@dataclass(frozen=True)
class EventLog:
    """n events sorted by key, then replay order: event_timestamp, item_id, event_id, file row.

    Attributes
    ----------
    ids : the keys
    key : (n,) codes of `ids`, ascending
    item : (n,) codes of all items
    time : (n,) microseconds since the epoch
    positive : (n,) bool
    value : (n,) float64, NaN where the event has none
    event_type : (n,) strings, null where the event has none; of type null where no event has one
    """

    ids: IdMap
    key: Ints
    item: Ints
    time: Ints
    positive: NDArray[np.bool_]
    value: NDArray[np.float64]
    event_type: pa.Array

    @cached_property
    def instants(self) -> "Instants":
        """One row per key and instant that has events, in the order of the log."""
        n = len(self.key)
        is_new_key = np.ones(n, dtype=bool)
        is_new_key[1:] = self.key[1:] != self.key[:-1]
        is_new = is_new_key.copy()
        is_new[1:] |= self.time[1:] != self.time[:-1]
        start = np.flatnonzero(is_new)
        first = np.maximum.accumulate(np.where(is_new_key, np.arange(n), 0))[start]
        return Instants(start=start, end=np.append(start[1:], n)[: len(start)], first=first)

    def ids_at(self, rows: Ints | slice = slice(None)) -> pa.Array:
        """The ids of the keys of some instants."""
        return self.ids.take(self.key[self.instants.start[rows]])

    def stamps_at(self, rows: Ints | slice = slice(None)) -> pa.Array:
        """When the rows that some instants cause are stamped: just after each."""
        return pa.array(self.time[self.instants.start[rows]] + CAUSED_AFTER_US).cast(TIMESTAMP)

    def n_events_since(self, window_us: int) -> Ints:
        """(m,) events of the key in `(t - window, t]`, for each instant `t`."""
        moments = np.unique(self.time)
        width = len(moments) + 1
        position = self.key * width + np.searchsorted(moments, self.time)
        last = self.instants.end - 1
        earliest = np.searchsorted(moments, self.time[last] - window_us, side="right")
        return self.instants.end - np.searchsorted(position, self.key[last] * width + earliest)

    def running(self, amount: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) sum of `amount` (n,) over the key's events up to and including each instant.

        Sums start afresh at each key: differences of one long sum would lose digits.
        """
        frame = pl.DataFrame({"key": self.key, "amount": amount})
        totals = frame.select(pl.col("amount").cum_sum().over("key"))["amount"]
        sums: NDArray[np.float64] = totals.gather(self.instants.end - 1).to_numpy()
        return sums

    def n_until(self, is_counted: NDArray[np.bool_]) -> Ints:
        """(m,) counted events of the key up to and including each instant."""
        counts = np.concatenate([[0], np.cumsum(is_counted, dtype=np.int64)])
        found: Ints = counts[self.instants.end] - counts[self.instants.first]
        return found


@dataclass(frozen=True)
class Instants:
    """m instants of an `EventLog`: the positions of their events are `start` to `end`.

    first : (m,) position of the first event of the instant's key
    """

    start: Ints
    end: Ints
    first: Ints

    def __len__(self) -> int:
        return len(self.start)


def build_event_log(interactions: pa.Table, items: IdMap, key: str) -> EventLog:
    """The log of validated `interactions` by `key`, either "user_id" or "item_id".

    items : all items; every item_id of `interactions` is among them
    """
    frame = sort_events(interactions, key)
    ids = items if key == "item_id" else IdMap.of(frame[key].to_arrow())
    return EventLog(
        ids=ids,
        key=ids.codes(frame[key].to_arrow()),
        item=items.codes(frame["item_id"].to_arrow()),
        time=frame["event_timestamp"].to_physical().to_numpy(),
        positive=frame["positive"].to_numpy(),
        value=frame["value"].fill_null(float("nan")).to_numpy(),
        event_type=_event_types(frame),
    )


def sort_events(interactions: pa.Table, key: str) -> pl.DataFrame:
    """The interactions of each key together in replay order; `row` is their place before."""
    frame = pl.DataFrame(pl.from_arrow(interactions))
    ties = [name for name in ("item_id", "event_id") if name in frame.columns]
    return frame.with_row_index("row").sort(key, "event_timestamp", *ties, "row")


def _event_types(frame: pl.DataFrame) -> pa.Array:
    if "event_type" not in frame.columns:
        return pa.nulls(len(frame))
    return frame["event_type"].to_arrow().cast(pa.string())
