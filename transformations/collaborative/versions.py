"""Versions of what is fitted to the log: when they come, and how they are kept and read.

A version is fitted on a schedule, from the events up to an instant, and stamped one microsecond
after it. So whoever reads the newest version at or before a time reads nothing of that time or
later, in training (point-in-time) and in serving (the newest) alike. Two versions never meet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from feast_fusion.parquet.whole import read_parquet
from feast_fusion.times import TIMESTAMP, from_micros
from transformations.collaborative.histories import Events, Floats, Ints
from transformations.id_map import IdMap
from transformations.schema import CAUSED_AFTER_US, ITEM_NEIGHBOURS

# The first versions, while there are few events, come at every doubling from here on.
_FIRST_EVENTS = 50
# A version comes when the log has grown by a twentieth, so that all of them together cost about
# twenty times the last one, however long the log.
_GROWTH = 20
_POPULARITY = ("popular", "popular_long", "popular_short")


@dataclass(frozen=True)
class ItemVersion:
    """What was fitted at one instant on i items.

    Attributes
    ----------
    stamp : microseconds since the epoch
    together, following : (i, i) float32, row h holds what an event with item h says for each other
        item: chosen by the same users (EASE), chosen next (`NextItemRegression`)
    popularity : (3, i) log of 1 + weights of positive events: of all, of the long and of the short
        window
    liked_rate : (i,) share of events that are positive, drawn to the mean where there are few
    """

    stamp: int
    together: sp.csr_matrix
    following: sp.csr_matrix
    popularity: Floats
    liked_rate: Floats

    @classmethod
    def empty(cls, n_items: int) -> "ItemVersion":
        """The version before the first: it says nothing."""
        nothing = sp.csr_matrix((n_items, n_items), dtype=np.float32)
        return cls(
            0,
            nothing,
            nothing,
            np.zeros((len(_POPULARITY), n_items), np.float32),
            np.zeros(n_items, np.float32),
        )

    @classmethod
    def of(cls, rows: pa.Table, items: IdMap) -> "ItemVersion":
        """The version of the rows of one stamp; items that `items` lacks are left out."""
        if not len(rows):
            return cls.empty(len(items))
        rows = rows.combine_chunks()
        code = items.codes(rows["item_id"])
        known = code >= 0
        scalars = np.zeros((len(_POPULARITY) + 1, len(items)), np.float32)
        for at, name in enumerate((*_POPULARITY, "liked_rate")):
            scalars[at, code[known]] = rows[name].to_numpy()[known]
        return cls(
            int(rows["event_timestamp"].cast(pa.int64())[0].as_py()),
            _matrix(rows, "together", code, items),
            _matrix(rows, "following", code, items),
            scalars[:-1],
            scalars[-1],
        )

    def rows(self, items: IdMap, known: Ints) -> pa.Table:
        """One row per known item (codes), of the schema `ITEM_NEIGHBOURS`."""
        columns = {
            "item_id": items.take(known),
            "event_timestamp": pa.repeat(pa.scalar(from_micros(self.stamp), TIMESTAMP), len(known)),
            **_lists("together", self.together[known], items),
            **_lists("following", self.following[known], items),
            **{
                name: pa.array(of[known])
                for name, of in zip(_POPULARITY, self.popularity, strict=True)
            },
            "liked_rate": pa.array(self.liked_rate[known]),
        }
        return pa.table(columns).select(ITEM_NEIGHBOURS.names).cast(ITEM_NEIGHBOURS)


class Version(Protocol):
    """What was fitted at one instant on i items, a row of a view for each."""

    @property
    def stamp(self) -> int:
        """Microseconds since the epoch."""

    @classmethod
    def empty(cls, n_items: int) -> Self:
        """The version before the first: it says nothing."""

    @classmethod
    def of(cls, rows: pa.Table, items: IdMap) -> Self:
        """The version of the rows of one stamp; items that `items` lacks are left out."""


Spread = Callable[[Callable[[int], pa.Table], Sequence[int]], Iterator[pa.Table]]
"""The rows of the version of each number of events, in their order; the numbers rise.

The built-in `map` fits one after the other. What spreads them over processes gives each process a
copy of the fit and rising numbers; a fit may keep what it has for the next.
"""

_V = TypeVar("_V", bound=Version)


class Versions(Generic[_V]):
    """The versions in the source of a view, for the items that have codes.

    Parameters
    ----------
    source : file of a prepared source with a row per item and version
    items : ids of the i items that versions are read for
    kind : what a version is read as
    """

    def __init__(self, source: Path, items: IdMap, kind: type[_V]) -> None:
        self._source, self._items, self._kind = source, items, kind
        times = read_parquet(source, ["event_timestamp"])["event_timestamp"]
        self.stamps: Ints = np.unique(times.cast(pa.int64()).to_numpy())
        self._read: _V | None = None

    def places(self, at: Ints) -> Ints:
        """(q,) the place among `stamps` of the newest version at each instant (us), -1: none."""
        found: Ints = np.searchsorted(self.stamps, at, side="right") - 1
        return found

    def read(self, place: int) -> _V:
        """The version at a place among `stamps`; at -1 the empty version."""
        if place < 0:
            return self._kind.empty(len(self._items))
        stamp = int(self.stamps[place])
        if self._read is None or self._read.stamp != stamp:
            instant = from_micros(stamp)
            rows = read_parquet(self._source, where=pc.field("event_timestamp") == instant)
            self._read = self._kind.of(rows, self._items)
        return self._read

    def newest(self, at: int) -> _V:
        """The newest version at an instant (us)."""
        return self.read(int(self.places(np.array([at]))[0]))


def version_ends(time: Ints, every: int) -> list[int]:
    """How many events each version is fitted on.

    Every `every` events, or every twentieth more where that is more; before that at each doubling
    from `_FIRST_EVENTS`. A version takes in all events of its last instant. More events later leave
    the ends before them as they are.

    Parameters
    ----------
    time : (n,) ascending
    every : least number of events between two versions
    """
    wanted: list[int] = []
    n = _FIRST_EVENTS
    while n < every:
        wanted.append(n)
        n *= 2
    n = every
    while n <= len(time):
        wanted.append(n)
        n += max(every, n // _GROWTH)
    last = time[[n - 1 for n in wanted if n <= len(time)]]
    ends: list[int] = np.unique(np.searchsorted(time, last, side="right")).tolist()
    return ends


def stamp_of(events: Events, end: int) -> int:
    """When the version of the first `end` events is known, in microseconds."""
    return int(events.time[end - 1]) + CAUSED_AFTER_US


def _lists(name: str, weights: sp.csr_matrix, items: IdMap) -> dict[str, pa.Array]:
    offsets = pa.array(weights.indptr.astype(np.int32))
    ids = items.take(weights.indices.astype(np.int64))
    return {
        f"{name}_ids": pa.ListArray.from_arrays(offsets, ids),
        f"{name}_weights": pa.ListArray.from_arrays(offsets, pa.array(weights.data)),
    }


def _matrix(rows: pa.Table, name: str, code: Ints, items: IdMap) -> sp.csr_matrix:
    """(i, i) from lists of ids and weights, one list per row."""
    ids, weights = (rows[f"{name}_{what}"].combine_chunks() for what in ("ids", "weights"))
    source = np.repeat(code, ids.value_lengths().to_numpy())
    target = items.codes(ids.flatten())
    known = (source >= 0) & (target >= 0)
    values = weights.flatten().to_numpy()[known]
    shape = (len(items), len(items))
    return sp.csr_matrix((values, (source[known], target[known])), shape=shape)
