"""A user's most frequent categories as of each instant, counted without a loop over events."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from transformations.event_log import EventLog, Ints
from transformations.item_versions import ItemVersions

# Counts are held for a block of instants at a time: at most this many rows and matrix cells.
BLOCK_ROWS = 32_768
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class _Pairs:
    """p pairs (instant, category) in the order of the instants, one per event and category.

    Attributes
    ----------
    names : (c,) categories, ascending
    offset : (m + 1,) the pairs of instant i are offset[i] to offset[i + 1]
    row : (p,) the instant
    local : (p,) the category's rank among those that this user ever has
    positive : (p,) whether the event was positive
    user_start : (u + 1,) the categories of user j are user_categories[start[j]:start[j + 1]]
    user_categories : (w,) index into `names`
    """

    names: pa.Array
    offset: Ints
    row: Ints
    local: Ints
    positive: NDArray[np.bool_]
    user_start: Ints
    user_categories: Ints


@dataclass(frozen=True)
class _Carry:
    """Where the previous block stopped: its last user, and that user's (events, positives)."""

    user: int
    counts: tuple[Ints, Ints]


class CategoryLookup:
    """The categories of an item as known at a time, for one event at a time.

    With several `columns` a category is "column=value", as in `iter_top_categories`.
    """

    def __init__(self, versions: ItemVersions, columns: tuple[str, ...]) -> None:
        self._versions = versions
        names, start, codes = _version_categories(versions, columns)
        named = names.take(pa.array(codes)).to_pylist()
        ends = start.tolist()
        self._of_version: list[list[str]] = [named[a:b] for a, b in pairwise(ends)]

    def at(self, item: int, time: int) -> list[str]:
        """Distinct categories of the item with that place among all, at a time in microseconds."""
        return self._of_version[self._versions.row_at(item, time)]


def iter_top_categories(
    log: EventLog, versions: ItemVersions, columns: tuple[str, ...], limit: int
) -> Iterator[tuple[slice, pa.Array, pa.Array, pa.Array]]:
    """Blocks of instants: their slice, then categories, events and positives as aligned lists.

    An event counts once under each category that its item had, as known at the event. Most events
    first, ties by name, at most `limit`. With several `columns` a category is "column=value".
    """
    pairs = _build_pairs(log, versions, columns)
    user = log.key[log.instants.start]
    first_row = np.searchsorted(user, user)
    width = int(np.diff(pairs.user_start).max(initial=1))
    n_rows = max(1, min(BLOCK_ROWS, BLOCK_CELLS // max(width, 1)))
    carry: _Carry | None = None
    for start in range(0, len(user), n_rows):
        block = slice(start, min(start + n_rows, len(user)))
        events, positives = _count(pairs, user[block], first_row[block], block, carry)
        carry = _Carry(int(user[block.stop - 1]), (events[-1], positives[-1]))
        yield block, *_rank(pairs, user[block], events, positives, limit)


def _count(
    pairs: _Pairs, user: Ints, first_row: Ints, block: slice, carry: _Carry | None
) -> tuple[Ints, Ints]:
    """(r, w) events and positives per local category up to and including each instant."""
    widths = np.diff(pairs.user_start)[user]
    shape = (len(user), max(int(widths.max()), 1))
    span = slice(pairs.offset[block.start], pairs.offset[block.stop])
    cell = (pairs.row[span] - block.start) * shape[1] + pairs.local[span]
    counts = []
    for side, chosen in enumerate((cell, cell[pairs.positive[span]])):
        count = np.bincount(chosen, minlength=shape[0] * shape[1]).reshape(shape)
        if carry is not None and carry.user == user[0]:
            before = carry.counts[side][: widths[0]]
            count[0, : len(before)] += before
        counts.append(_running_from(np.cumsum(count, axis=0), first_row - block.start))
    return counts[0], counts[1]


def _running_from(total: Ints, first: Ints) -> Ints:
    """`total` (r, w) less what it was before each row's user began at row `first` (r,)."""
    follows = np.flatnonzero(first > 0)
    before = total[first[follows] - 1]
    total[follows] -= before
    return total


def _rank(
    pairs: _Pairs, user: Ints, events: Ints, positives: Ints, limit: int
) -> tuple[pa.Array, pa.Array, pa.Array]:
    width = events.shape[1]
    worth = -(events * width + np.arange(width - 1, -1, -1))
    if width > limit:
        best = np.argpartition(worth, limit - 1, axis=1)[:, :limit]
        order = np.argsort(np.take_along_axis(worth, best, axis=1), axis=1)
        best = np.take_along_axis(best, order, axis=1)
    else:
        best = np.argsort(worth, axis=1)
    n_events = np.take_along_axis(events, best, axis=1)
    is_kept = n_events > 0
    offsets = np.concatenate([[0], np.cumsum(is_kept.sum(axis=1))]).astype(np.int32)
    chosen = (pairs.user_start[user][:, None] + best)[is_kept]
    names = pairs.names.take(pa.array(pairs.user_categories[chosen]))
    n_positives = np.take_along_axis(positives, best, axis=1)[is_kept]
    lists = (names, pa.array(n_events[is_kept]), pa.array(n_positives))
    names, n_events, n_positives = (pa.ListArray.from_arrays(offsets, each) for each in lists)
    return names, n_events, n_positives


def _build_pairs(log: EventLog, versions: ItemVersions, columns: tuple[str, ...]) -> _Pairs:
    names, start, codes = _version_categories(versions, columns)
    version = versions.as_of(log.item, log.time)
    n_each = np.diff(start)[version]
    event = np.repeat(np.arange(len(version)), n_each)
    within = np.arange(len(event)) - np.repeat(np.cumsum(n_each) - n_each, n_each)
    category = codes[start[version][event] + within]
    width = max(len(names), 1)
    own, inverse = np.unique(log.key[event] * width + category, return_inverse=True)
    user_start = np.searchsorted(own, np.arange(len(log.names) + 1) * width)
    pair_ends = np.concatenate([[0], np.cumsum(n_each)])
    instants = log.instants
    return _Pairs(
        names=names,
        offset=pair_ends[np.append(instants.start, len(log.key))],
        row=np.repeat(np.arange(len(instants)), instants.end - instants.start)[event],
        local=inverse - user_start[log.key[event]],
        positive=log.positive[event],
        user_start=user_start,
        user_categories=own % width,
    )


def _version_categories(
    versions: ItemVersions, columns: tuple[str, ...]
) -> tuple[pa.Array, Ints, Ints]:
    """Distinct categories (c,), and for version i their codes[start[i]:start[i + 1]]."""
    long = [pl.DataFrame(schema={"version": pl.Int64, "category": pl.String})]
    for column in columns:
        frame = pl.DataFrame({"category": pl.Series(versions.table[column])})
        frame = frame.select(pl.int_range(pl.len()).alias("version"), "category")
        if isinstance(frame.schema["category"], pl.List):
            frame = frame.explode("category")
        name = pl.col("category").cast(pl.String)
        if len(columns) > 1:
            name = pl.format("{}={}", pl.lit(column), name)
        long.append(frame.drop_nulls("category").with_columns(category=name))
    pairs = pl.concat(long).unique().sort("version", "category")
    names = pairs["category"].unique().sort()
    codes = pairs["category"].cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
    start = np.searchsorted(pairs["version"].to_numpy(), np.arange(len(versions.item) + 1))
    return names.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string()), start, codes
