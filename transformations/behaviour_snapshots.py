"""Behaviour snapshots: the titles a user liked and disliked, after each n-th event of the user."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.dataset import Dataset
from transformations.event_log import EventLog, Ints
from transformations.item_versions import ItemVersions
from transformations.user_lists import iter_chunks, last_events, list_offsets


def find_snapshots(log: EventLog, every: int) -> Ints:
    """Instants at which a user's event count passes one or more multiples of `every`."""
    instants = log.instants
    before = (instants.start - instants.first) // every
    return np.flatnonzero((instants.end - instants.first) // every > before)


def iter_snapshots(
    log: EventLog, versions: ItemVersions, titles: pa.Array, rows: Ints, history: int
) -> Iterator[pa.Table]:
    """Chunks of user_snapshots: the titles of the last `history` events, each item once.

    titles : of each version, null where it has none
    rows : the instants, as of `find_snapshots`
    """
    for chunk in iter_chunks(rows, history):
        row, event = _newest_of_each_item(log, chunk, len(versions.ids), history)
        known_at = log.time[log.instants.start[chunk]][row]
        title = titles.take(pa.array(versions.as_of(log.item[event], known_at)))
        table = pa.table({"user_id": log.ids_at(chunk), "event_timestamp": log.stamps_at(chunk)})
        has_title = np.asarray(title.is_valid())
        for name, side in (("liked", True), ("disliked", False)):
            kept = has_title & (log.positive[event] == side)
            counts = np.bincount(row[kept], minlength=len(chunk))
            lists = pa.ListArray.from_arrays(list_offsets(counts), title.filter(pa.array(kept)))
            table = table.append_column(name, lists)
        yield table


def _newest_of_each_item(
    log: EventLog, rows: Ints, n_items: int, history: int
) -> tuple[Ints, Ints]:
    """Place in `rows` and position of each event that is kept, most recent first in each row.

    Of a row with the last events 5, 4, 3 on the items a, b, a the events 5 and 4 are kept.
    """
    event, offsets = last_events(log, rows, history)
    row = np.repeat(np.arange(len(rows)), np.diff(offsets))
    # the first of equal pairs (row, item) is the most recent event of that item
    _, newest = np.unique(row * n_items + log.item[event], return_index=True)
    newest.sort()
    return row[newest], event[newest]


def titles_of(versions: ItemVersions, dataset: Dataset) -> pa.Array:
    """(v,) title of each version, null where it has none.

    Raises
    ------
    SchemaError
        The column of titles has lists.
    """
    title = versions.table[dataset.items.title].combine_chunks()
    if pa.types.is_nested(title.type):
        raise schema_error(
            f"{dataset.items.where}: column {dataset.items.title!r}",
            got=title.type,
            expected="text",
            remedy="Name a column of strings as [items] title.",
        )
    return title.cast(pa.string())
