"""Events become point-in-time features: what was known of each user and item after each instant.

Every row is stamped one microsecond after the instant that caused it and holds the state after
all events of that instant, so there is one row per key and instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from intake.dataset import Activity, Dataset
from transformations import names
from transformations.behaviour_snapshots import find_snapshots, iter_snapshots, titles_of
from transformations.event_log import EventLog, build_event_log
from transformations.item_versions import ItemVersions, build_item_versions
from transformations.schema import (
    ITEM_STATS,
    USER_EVENTS,
    USER_RECENT,
    USER_SNAPSHOTS,
    USER_STATS,
)
from transformations.statistics import build_statistics, build_value_std
from transformations.top_categories import iter_top_categories
from transformations.user_lists import iter_instants, iter_recent

_CHUNK_ROWS = 65_536


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
    recent = iter_recent(log, versions, activity.history)
    yield ActivityTable(names.USER_RECENT, USER_RECENT, n_rows, recent)
    yield ActivityTable(names.USER_EVENTS, USER_EVENTS, n_rows, iter_instants(log, versions))
    rows = find_snapshots(log, activity.snapshot_every)
    titles = titles_of(versions, dataset)
    snapshots = iter_snapshots(log, versions, titles, rows, activity.history)
    yield ActivityTable(names.USER_SNAPSHOTS, USER_SNAPSHOTS, len(rows), snapshots)


def _item_stats(log: EventLog, activity: Activity) -> Iterator[pa.Table]:
    columns = build_statistics(log, activity, "item")
    table = pa.table({"item_id": log.ids_at(), **columns}).select(ITEM_STATS.names)
    for start in range(0, len(table), _CHUNK_ROWS):
        yield table.slice(start, _CHUNK_ROWS)


def _user_stats(
    log: EventLog, versions: ItemVersions, categorical: tuple[str, ...], activity: Activity
) -> Iterator[pa.Table]:
    columns = build_statistics(log, activity, "user")
    table = pa.table({"user_id": log.ids_at(), **columns, "user_value_std": build_value_std(log)})
    blocks = iter_top_categories(log, versions, categorical, activity.categories)
    for block, *lists in blocks:
        chunk = table.slice(block.start, block.stop - block.start)
        for name, column in zip(USER_STATS.names[-3:], lists, strict=True):
            chunk = chunk.append_column(name, column)
        yield chunk.select(USER_STATS.names)
