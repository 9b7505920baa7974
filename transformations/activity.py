"""Events become point-in-time features: what was known of each user and item after each instant.

Every row is stamped one microsecond after the instant that caused it and holds the state after
all events of that instant, so there is one row per key and instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP
from intake.dataset import Activity, Dataset
from transformations import names
from transformations.event_log import DAY_US, SECOND_US, EventLog, Ints, build_event_log
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.schema import (
    CAUSED_AFTER_US,
    ITEM_STATS,
    USER_EVENTS,
    USER_RECENT,
    USER_SNAPSHOTS,
    USER_STATS,
)
from transformations.top_categories import iter_top_categories

# A chunk holds at most this many rows, and lists of at most about this many elements together.
CHUNK_ROWS = 65_536
CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class ActivityTable:
    """One derived source: its name and schema, how many rows come, and the rows, to be read once.

    The rows are sorted by key and event_timestamp.
    """

    name: str
    schema: pa.Schema
    n_rows: int
    chunks: Iterator[pa.Table]


def build_activity(
    dataset: Dataset, items: pa.Table, interactions: pa.Table
) -> Iterator[ActivityTable]:
    """item_stats, user_stats, user_recent, user_events and user_snapshots, one after the other.

    Parameters
    ----------
    items : prepared items, `item_profile_schema`
    interactions : validated interactions; every item_id is in `items`, nothing but value is null

    Notes
    -----
    An event counts under the categories its item had when the event happened. The titles of a
    snapshot are those known at the snapshot. Both take an item's first version for events before
    it, and a title that is null is left out. Nothing here looks at an event after the row's own
    instant: dropping all later events leaves every row as it is.
    """
    activity = dataset.activity
    versions = build_item_versions(items)
    by_item = build_event_log(interactions, versions.ids, "item_id")
    n_rows = len(by_item.instants)
    yield ActivityTable(names.ITEM_STATS, ITEM_STATS, n_rows, _item_stats(by_item, activity))
    del by_item
    log = build_event_log(interactions, versions.ids, "user_id")
    n_rows = len(log.instants)
    categorical = dataset.items.categorical
    stats = _user_stats(log, versions, categorical, activity)
    yield ActivityTable(names.USER_STATS, USER_STATS, n_rows, stats)
    recent = _user_recent(log, versions, activity.history)
    yield ActivityTable(names.USER_RECENT, USER_RECENT, n_rows, recent)
    yield ActivityTable(names.USER_EVENTS, USER_EVENTS, n_rows, _user_events(log, versions))
    rows = snapshot_rows(log, activity.snapshot_every)
    titles = _titles(versions, dataset)
    snapshots = _user_snapshots(log, versions, titles, rows, activity.history)
    yield ActivityTable(names.USER_SNAPSHOTS, USER_SNAPSHOTS, len(rows), snapshots)


def _item_stats(log: EventLog, activity: Activity) -> Iterator[pa.Table]:
    columns = _statistics(log, activity)
    table = pa.table({"item_id": _names(log), **columns}).select(ITEM_STATS.names)
    for start in range(0, len(table), CHUNK_ROWS):
        yield table.slice(start, CHUNK_ROWS)


def _user_stats(
    log: EventLog, versions: ItemVersions, categorical: tuple[str, ...], activity: Activity
) -> Iterator[pa.Table]:
    columns = _statistics(log, activity)
    table = pa.table({"user_id": _names(log), **columns, "value_std": _value_std(log)})
    blocks = iter_top_categories(log, versions, categorical, activity.categories)
    for block, *lists in blocks:
        chunk = table.slice(block.start, block.stop - block.start)
        for name, column in zip(USER_STATS.names[-3:], lists, strict=True):
            chunk = chunk.append_column(name, column)
        yield chunk.select(USER_STATS.names)


def _statistics(log: EventLog, activity: Activity) -> dict[str, pa.Array]:
    """The columns that item_stats and user_stats share, one row per instant."""
    instants = log.instants
    n_events = instants.end - instants.first
    n_positive = log.n_until(log.positive)
    short, long = (log.n_events_since(days * DAY_US) for days in activity.window_days)
    n_values, (total,) = _value_sums(log, log.value)
    return {
        "event_timestamp": _stamps(log.time[instants.start]),
        "n_events": pa.array(n_events),
        "n_positive": pa.array(n_positive),
        "positive_rate": pa.array(n_positive / n_events),
        "value_mean": _ratio(total, n_values),
        "n_events_short": pa.array(short),
        "n_events_long": pa.array(long),
        "first_event_s": pa.array(log.time[instants.first] // SECOND_US),
        "last_event_s": pa.array(log.time[instants.start] // SECOND_US),
    }


def _value_sums(
    log: EventLog, *amounts: NDArray[np.float64]
) -> tuple[Ints, list[NDArray[np.float64]]]:
    has_value = ~np.isnan(log.value)
    sums = [log.running(np.where(has_value, amount, 0.0)) for amount in amounts]
    return log.n_until(has_value), sums


def _value_std(log: EventLog) -> pa.Array:
    """Population standard deviation per instant; null where no event had a value.

    Deviations are taken from the key's first value, which leaves the variance as it is and keeps
    the difference of squares from cancelling.
    """
    frame = pl.DataFrame({"key": log.key, "value": log.value}).fill_nan(None)
    first = pl.col("value").drop_nulls().first().over("key")
    deviation = frame.select((pl.col("value") - first).fill_null(0.0))["value"].to_numpy()
    n_values, (total, squares) = _value_sums(log, deviation, deviation**2)
    n = np.maximum(n_values, 1)
    variance = np.maximum(squares / n - (total / n) ** 2, 0.0)
    return _ratio(np.sqrt(variance) * n, n_values)


def _user_recent(log: EventLog, versions: ItemVersions, history: int) -> Iterator[pa.Table]:
    instants = log.instants
    for start in _starts(len(instants), history):
        rows = np.arange(start, min(start + _chunk_rows(history), len(instants)))
        event, offsets = _last_events(log, rows, history)
        newest = log.time[instants.end[rows] - 1]
        age = np.repeat(newest, np.diff(offsets)) - log.time[event]
        yield _listed(
            log,
            rows,
            offsets,
            item_ids=versions.ids.take(log.item[event]),
            values=pa.array(log.value[event].astype(np.float32)),
            positives=pa.array(log.positive[event].astype(np.int64)),
            ages_s=pa.array(age // SECOND_US),
        )


def _user_events(log: EventLog, versions: ItemVersions) -> Iterator[pa.Table]:
    instants = log.instants
    for start in range(0, len(instants), CHUNK_ROWS):
        rows = np.arange(start, min(start + CHUNK_ROWS, len(instants)))
        event = slice(instants.start[rows[0]], instants.end[rows[-1]])
        yield _listed(
            log,
            rows,
            np.append(instants.start[rows], event.stop) - event.start,
            item_ids=versions.ids.take(log.item[event]),
            positives=pa.array(log.positive[event].astype(np.int64)),
            types=log.event_type[event].cast(pa.string()),
        )


def snapshot_rows(log: EventLog, every: int) -> Ints:
    """Instants at which a user's event count passes one or more multiples of `every`."""
    instants = log.instants
    before = (instants.start - instants.first) // every
    return np.flatnonzero((instants.end - instants.first) // every > before)


def _user_snapshots(
    log: EventLog, versions: ItemVersions, titles: pa.Array, rows: Ints, history: int
) -> Iterator[pa.Table]:
    for start in _starts(len(rows), history):
        chunk = rows[start : start + _chunk_rows(history)]
        event, offsets = _last_events(log, chunk, history)
        row = np.repeat(np.arange(len(chunk)), np.diff(offsets))
        # the first of equal pairs is the most recent event of that item
        _, newest = np.unique(row * len(versions.ids) + log.item[event], return_index=True)
        newest.sort()
        row, event = row[newest], event[newest]
        known_at = log.time[log.instants.start[chunk]][row]
        title = titles.take(pa.array(versions.as_of(log.item[event], known_at)))
        table = pa.table({"user_id": _names(log, chunk), "event_timestamp": _times(log, chunk)})
        has_title = np.asarray(title.is_valid())
        for name, side in (("liked", True), ("disliked", False)):
            kept = has_title & (log.positive[event] == side)
            counts = np.bincount(row[kept], minlength=len(chunk))
            lists = pa.ListArray.from_arrays(_offsets(counts), title.filter(pa.array(kept)))
            table = table.append_column(name, lists)
        yield table


def _titles(versions: ItemVersions, dataset: Dataset) -> pa.Array:
    title = versions.table[dataset.items.title].combine_chunks()
    if pa.types.is_nested(title.type):
        raise schema_error(
            f"{dataset.items.path}: column {dataset.items.title!r}",
            got=title.type,
            expected="text",
            remedy="Name a column of strings as [items] title.",
        )
    return title.cast(pa.string())


def _last_events(log: EventLog, rows: Ints, history: int) -> tuple[Ints, NDArray[np.int32]]:
    """Positions of the last `history` events up to each row, most recent first, and offsets."""
    end = log.instants.end[rows]
    counts = np.minimum(end - log.instants.first[rows], history)
    offsets = _offsets(counts)
    age = np.arange(offsets[-1]) - np.repeat(offsets[:-1].astype(np.int64), counts)
    return np.repeat(end - 1, counts) - age, offsets


def _listed(log: EventLog, rows: Ints, offsets: NDArray[Any], **lists: pa.Array) -> pa.Table:
    starts = pa.array(offsets, pa.int32())
    columns = {name: pa.ListArray.from_arrays(starts, column) for name, column in lists.items()}
    times = _times(log, rows)
    return pa.table({"user_id": _names(log, rows), "event_timestamp": times, **columns})


def _names(log: EventLog, rows: Ints | slice = slice(None)) -> pa.Array:
    return log.ids.take(log.key[log.instants.start[rows]])


def _times(log: EventLog, rows: Ints) -> pa.Array:
    return _stamps(log.time[log.instants.start[rows]])


def _stamps(time: Ints) -> pa.Array:
    return pa.array(time + CAUSED_AFTER_US).cast(TIMESTAMP)


def _ratio(total: NDArray[np.float64], count: Ints) -> pa.Array:
    return pa.array(total / np.maximum(count, 1), mask=count == 0)


def _offsets(counts: Ints) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def _chunk_rows(history: int) -> int:
    return max(1, min(CHUNK_ROWS, CHUNK_ELEMENTS // history))


def _starts(n_rows: int, history: int) -> range:
    return range(0, n_rows, _chunk_rows(history))
