"""Lists as of each instant of a user: the last events, and the events of that instant.

An example: of a user with one event at instant 0 and two at instant 1, the last two events as of
instant 0 are [0], and as of instant 1 [2, 1]: together [0, 2, 1] with the offsets [0, 1, 3].
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transformations.event_log import SECOND_US, EventLog, Ints
from transformations.item_versions import ItemVersions

# A chunk holds at most this many rows, and lists of at most about this many elements together.
CHUNK_ROWS = 65_536
CHUNK_ELEMENTS = 2_000_000


def iter_recent(log: EventLog, versions: ItemVersions, history: int) -> Iterator[pa.Table]:
    """Chunks of user_recent, one row per instant."""
    instants = log.instants
    for rows in iter_chunks(np.arange(len(instants)), history):
        event, offsets = last_events(log, rows, history)
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


def iter_instants(log: EventLog, versions: ItemVersions) -> Iterator[pa.Table]:
    """Chunks of user_events, one row per instant."""
    instants = log.instants
    for rows in iter_chunks(np.arange(len(instants)), history=1):
        event = slice(instants.start[rows[0]], instants.end[rows[-1]])
        yield _listed(
            log,
            rows,
            np.append(instants.start[rows], event.stop) - event.start,
            item_ids=versions.ids.take(log.item[event]),
            positives=pa.array(log.positive[event].astype(np.int64)),
            types=log.event_type[event].cast(pa.string()),
        )


def last_events(log: EventLog, rows: Ints, history: int) -> tuple[Ints, NDArray[np.int32]]:
    """Positions of the last `history` events up to each row, most recent first, and offsets."""
    end = log.instants.end[rows]
    counts = np.minimum(end - log.instants.first[rows], history)
    offsets = list_offsets(counts)
    age = np.arange(offsets[-1]) - np.repeat(offsets[:-1].astype(np.int64), counts)
    return np.repeat(end - 1, counts) - age, offsets


def _listed(log: EventLog, rows: Ints, offsets: NDArray[Any], **lists: pa.Array) -> pa.Table:
    starts = pa.array(offsets, pa.int32())
    columns = {name: pa.ListArray.from_arrays(starts, column) for name, column in lists.items()}
    times = log.stamps_at(rows)
    return pa.table({"user_id": log.ids_at(rows), "event_timestamp": times, **columns})


def list_offsets(counts: Ints) -> NDArray[np.int32]:
    """Where lists of these lengths start, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)


def iter_chunks(rows: Ints, history: int) -> Iterator[Ints]:
    """The rows in chunks of lists of at most `history` elements each."""
    n_rows = max(1, min(CHUNK_ROWS, CHUNK_ELEMENTS // history))
    for start in range(0, len(rows), n_rows):
        yield rows[start : start + n_rows]
