"""A user's most frequent categories as of each instant, counted without a loop over events.

An example: user 0 acts on a Drama at instant 0 and on a film that is Comedy and Drama at instant 1;
user 1 acts on a Comedy at instant 2. The pairs (event, category) are counted per instant and per
*own* category, the rank of a category among those that the user ever has:

    own categories    user 0: Comedy, Drama; user 1: Comedy
    pairs             instant [0, 1, 1, 2], own category [1, 0, 1, 0]
    counts            [[0, 1], [1, 1], [1, 0]]
    running sums      [[0, 1], [1, 2], [2, 2]]
    per user          [[0, 1], [1, 2], [1, 0]]: less the sums before the user's first instant
    most frequent     Drama 1; Drama 2, Comedy 1; Comedy 1
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transformations.categories import CategoryLookup
from transformations.event_log import EventLog, Ints
from transformations.item_versions import ItemVersions

# Counts are held for a block of instants at a time: at most this many rows and matrix cells.
BLOCK_ROWS = 32_768
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class _Pairs:
    """p pairs (event, category) in the order of the events.

    Attributes
    ----------
    row : (p,) the instant of the event, ascending
    own : (p,) the category's rank among those that the user ever has
    positive : (p,) whether the event was positive
    user_start : (u + 1,) the own categories of user j are
        user_categories[user_start[j]:user_start[j + 1]]
    user_categories : (w,) their codes
    """

    row: Ints
    own: Ints
    positive: NDArray[np.bool_]
    user_start: Ints
    user_categories: Ints

    @property
    def width(self) -> int:
        """Own categories of the user who has most of them; at least 1."""
        return int(np.diff(self.user_start).max(initial=1))


def iter_top_categories(
    log: EventLog, versions: ItemVersions, columns: tuple[str, ...], limit: int
) -> Iterator[tuple[slice, pa.Array, pa.Array, pa.Array]]:
    """Blocks of instants: their slice, then categories, events and positives as aligned lists.

    An event counts once under each category that its item had, as known at the event. Most events
    first, ties by name, at most `limit`.
    """
    lookup = CategoryLookup(versions, columns)
    pairs = _build_pairs(log, lookup)
    user = log.key[log.instants.start]
    first_row = np.searchsorted(user, user)
    n_rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // pairs.width))
    before = np.zeros((2, pairs.width), np.int64)
    for start in range(0, len(user), n_rows):
        block = slice(start, min(start + n_rows, len(user)))
        counts = _running_counts(pairs, first_row[block], block, before)
        before = counts[:, -1]
        best = _most_frequent(counts[0], limit)
        yield block, *_as_lists(pairs, lookup, user[block], counts, best)


def _build_pairs(log: EventLog, lookup: CategoryLookup) -> _Pairs:
    event, category = lookup.of_events(log.item, log.time)
    n = max(len(lookup.names), 1)
    # (user, category) as one number, so that each user's categories lie together, ascending
    owned, place = np.unique(log.key[event] * n + category, return_inverse=True)
    user_start = np.searchsorted(owned, np.arange(len(log.ids) + 1) * n)
    instants = log.instants
    row_of_event = np.repeat(np.arange(len(instants)), instants.end - instants.start)
    return _Pairs(
        row=row_of_event[event],
        own=place - user_start[log.key[event]],
        positive=log.positive[event],
        user_start=user_start,
        user_categories=owned % n,
    )


def _running_counts(pairs: _Pairs, first_row: Ints, block: slice, before: Ints) -> Ints:
    """(2, r, w) events and positives of the user per own category, up to each instant of a block.

    first_row : (r,) the first instant of the row's user
    before : (2, w) the last row of the previous block
    """
    shape = (len(first_row), pairs.width)
    span = slice(*np.searchsorted(pairs.row, [block.start, block.stop]))
    cell = (pairs.row[span] - block.start) * pairs.width + pairs.own[span]
    sides = (cell, cell[pairs.positive[span]])
    counts = np.stack(
        [np.bincount(side, minlength=shape[0] * shape[1]).reshape(shape) for side in sides]
    )
    if first_row[0] < block.start:  # the user goes on from the previous block
        counts[:, 0] += before
    totals = np.cumsum(counts, axis=1)
    follows = np.flatnonzero(first_row > block.start)
    earlier = totals[:, first_row[follows] - block.start - 1]
    totals[:, follows] -= earlier
    return totals


def _most_frequent(events: Ints, limit: int) -> Ints:
    """(r, at most limit) columns of `events` (r, w), the largest first, of equals the leftmost.

    A row [1, 4, 4] has w = 3 and the keys [1*3 + 2, 4*3 + 1, 4*3 + 0]: columns 1, 2, 0.
    """
    width = events.shape[1]
    key = -(events * width + np.arange(width - 1, -1, -1))
    best = np.argpartition(key, min(limit, width) - 1, axis=1)[:, :limit]
    order = np.argsort(np.take_along_axis(key, best, axis=1), axis=1)
    return np.take_along_axis(best, order, axis=1)


def _as_lists(
    pairs: _Pairs, lookup: CategoryLookup, user: Ints, counts: Ints, best: Ints
) -> tuple[pa.Array, ...]:
    """Names, events and positives of the own categories `best` (r, k), without the uncounted."""
    events, positives = (np.take_along_axis(side, best, axis=1) for side in counts)
    is_counted = events > 0
    offsets = np.concatenate([[0], np.cumsum(is_counted.sum(axis=1))]).astype(np.int32)
    chosen = (pairs.user_start[user][:, None] + best)[is_counted]
    columns = (
        lookup.names.take(pairs.user_categories[chosen]),
        pa.array(events[is_counted]),
        pa.array(positives[is_counted]),
    )
    return tuple(pa.ListArray.from_arrays(offsets, column) for column in columns)
