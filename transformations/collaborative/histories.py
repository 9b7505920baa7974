"""What users had done before an instant, in the one form that training and serving share.

Example: user "u" acted on items 7 and 3 at 10:00:00 and on 5 at 10:01:00. The history at 10:05:00
is `item` [7, 3, 5] (oldest first), `age_s` [60, 60, 0] (before the newest event), `idle_s` [240].
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from transformations import names
from transformations.event_log import SECOND_US
from transformations.id_map import IdMap

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_ITEM_IDS, _POSITIVES, _VALUES, _AGES = (
    feature_column(names.USER_RECENT, name)
    for name in ("item_ids", "positives", "values", "ages_s")
)
# A pause says no more when it is longer: a log of old events must not look like nothing seen.
_MAX_IDLE_S = 30 * 86_400.0
_LAST_EVENT = feature_column(names.USER_STATS, "user_last_event_s")


@dataclass(frozen=True)
class Histories:
    """The newest events of q users strictly before q instants, oldest first.

    Attributes
    ----------
    offsets : (q + 1,) the events of query i are offsets[i] to offsets[i + 1]
    item : (k,) codes
    positive : (k,) bool
    value : (k,) NaN where an event has none
    age_s : (k,) whole seconds before the newest event of the history
    idle_s : (q,) whole seconds from the newest event to the instant, at most 30 days; 0 without an
        event
    """

    offsets: Ints
    item: Ints
    positive: Flags
    value: Floats
    age_s: Ints
    idle_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.idle_s)

    @cached_property
    def lengths(self) -> Ints:
        """(q,) how many events."""
        return np.diff(self.offsets)

    @cached_property
    def query(self) -> Ints:
        """(k,) the query of an event."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def place(self) -> Ints:
        """(k,) 0 for the newest event of a history, 1 for the one before."""
        return np.repeat(self.offsets[1:], self.lengths) - 1 - np.arange(len(self.item))

    def sums(self, weights: NDArray[np.floating], n_items: int) -> sp.csr_matrix:
        """(q, n_items) float32: the (k,) weights of the events of an item, summed."""
        rows = (weights.astype(np.float32), self.item, self.offsets)
        return sp.csr_matrix(rows, shape=(len(self), n_items))

    @classmethod
    def of(cls, rows: TrainingSet, items: IdMap) -> "Histories":
        """The histories of rows with the features of `user_recent` and `user_stats`.

        The instant of a row is its event_timestamp. Items that `items` lacks are left out.
        """
        ids, n = rows.lists[_ITEM_IDS], len(rows)
        lists, index = _list(rows, _ITEM_IDS), ids.index.astype(np.int64)
        starts, lengths = lists.offsets.to_numpy(), lists.value_lengths().to_numpy()
        lengths = np.where(index >= 0, np.append(lengths, 0)[index], 0)
        newest_first = _ranges(np.append(starts, 0)[index], lengths)  # (k,) flat places
        query = np.repeat(np.arange(n), lengths)
        last = np.cumsum(lengths) - 1
        at = newest_first[np.repeat(2 * last - lengths + 1, lengths) - np.arange(len(query))]
        code = items.codes(lists.values)[at]
        known = code >= 0
        kept = np.bincount(query[known], minlength=n)
        values, positives, ages = (
            _list(rows, name).values.to_numpy(zero_copy_only=False)[at[known]]
            for name in (_VALUES, _POSITIVES, _AGES)
        )
        now_s = rows.table["event_timestamp"].cast(TIMESTAMP).cast(pa.int64()).to_numpy() / 1e6
        last_s = rows.table[_LAST_EVENT].cast(pa.float64()).to_numpy(zero_copy_only=False)
        return cls(
            np.concatenate([[0], np.cumsum(kept)]),
            code[known],
            positives > 0,
            values.astype(np.float32),
            ages.astype(np.int64),
            np.nan_to_num((np.floor(now_s) - last_s).clip(0, _MAX_IDLE_S)),
        )

    def newest(self, limit: int) -> "Histories":
        """The newest `limit` events of each."""
        kept = self.place < limit
        lengths = np.minimum(self.lengths, limit)
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            item=self.item[kept],
            positive=self.positive[kept],
            value=self.value[kept],
            age_s=self.age_s[kept],
        )

    def alone(self, query: int) -> "Histories":
        """One of the queries."""
        return self if len(self) == 1 else self.take(np.array([query]))

    def take(self, queries: Ints) -> "Histories":
        """The given queries, in the given order."""
        lengths = self.lengths[queries]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = _ranges(self.offsets[queries], lengths)
        return Histories(
            offsets,
            self.item[rows],
            self.positive[rows],
            self.value[rows],
            self.age_s[rows],
            self.idle_s[queries],
        )


@dataclass(frozen=True)
class Events:
    """n events of all users in the order of `split_by_time`: time, user_id, item_id.

    Attributes
    ----------
    users, items : the ids behind the codes
    user, item : (n,) codes
    time : (n,) microseconds since the epoch
    positive : (n,) bool
    value : (n,) NaN where an event has none
    weight : (n,) how much an event counts in the models that are fitted
    known_from : (i,) microseconds, when each item was first described
    """

    users: IdMap
    items: IdMap
    user: Ints
    item: Ints
    time: Ints
    positive: Flags
    value: Floats
    weight: Floats
    known_from: Ints

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def starts_of_instants(self) -> Ints:
        """(n,) the first row of the same instant: the rows before it are strictly earlier."""
        return np.searchsorted(self.time, self.time)

    def histories(self, user: Ints, now: Ints, limit: int) -> Histories:
        """The newest `limit` events of (q,) users strictly before (q,) instants."""
        end = self._end(user, now)
        begin = np.maximum(self._starts[user], end - limit)
        offsets = np.concatenate([[0], np.cumsum(end - begin)])
        rows = self._rows(begin, end, offsets)
        newest = np.zeros(len(user), dtype=np.int64)
        has_any = end > begin
        newest[has_any] = self.time[self._by_user[end[has_any] - 1]]
        age_us = np.repeat(newest, end - begin) - self.time[rows]
        return Histories(
            offsets,
            self.item[rows],
            self.positive[rows],
            self.value[rows],
            age_us // SECOND_US,
            np.where(has_any, (now // SECOND_US - newest // SECOND_US).clip(0, _MAX_IDLE_S), 0.0),
        )

    def rankable(self, user: Ints, now: Ints, *, repeats: bool = False) -> Flags:
        """(q, i) items known at the instant that the user had no event with strictly before."""
        allowed = self.known_from[None, :] <= now[:, None]
        if not repeats:
            begin, end = self._starts[user], self._end(user, now)
            offsets = np.concatenate([[0], np.cumsum(end - begin)])
            query = np.repeat(np.arange(len(user)), end - begin)
            allowed[query, self.item[self._rows(begin, end, offsets)]] = False
        return allowed

    def is_new(self, rows: Ints) -> Flags:
        """(q,) whether the user had no event with the item strictly before the row's instant."""
        pairs = self.user * len(self.items) + self.item
        order = np.argsort(pairs, kind="stable")
        first = order[np.searchsorted(pairs[order], pairs[rows])]
        found: Flags = self.time[first] == self.time[rows]
        return found

    @cached_property
    def _by_user(self) -> Ints:
        return np.lexsort((np.arange(len(self)), self.user))

    @cached_property
    def _starts(self) -> Ints:
        return np.searchsorted(self.user[self._by_user], np.arange(len(self.users)))

    @cached_property
    def _instants(self) -> tuple[Ints, Ints]:
        """The distinct times, and (n,) ascending numbers of (user, time) in the order by user."""
        times, number = np.unique(self.time, return_inverse=True)
        return times, (self.user * (len(times) + 1) + number)[self._by_user]

    def _end(self, user: Ints, now: Ints) -> Ints:
        times, numbers = self._instants
        wanted = user * (len(times) + 1) + np.searchsorted(times, now)
        end: Ints = np.searchsorted(numbers, wanted)
        return end

    def _rows(self, begin: Ints, end: Ints, offsets: Ints) -> Ints:
        at = np.repeat(begin - offsets[:-1], end - begin) + np.arange(offsets[-1])
        rows: Ints = self._by_user[at]
        return rows


def _list(rows: TrainingSet, name: str) -> pa.ListArray:
    found = rows.lists[name].values
    assert not isinstance(found, np.ndarray)
    return found


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers from each start on, as many as its length: 5 and 0 of lengths 2, 1: 5, 6, 0."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)


def take_events(events: Events, rows: Ints) -> Events:
    """The events of ascending rows; users and items keep their codes."""
    return replace(
        events,
        user=events.user[rows],
        item=events.item[rows],
        time=events.time[rows],
        positive=events.positive[rows],
        value=events.value[rows],
        weight=events.weight[rows],
    )
