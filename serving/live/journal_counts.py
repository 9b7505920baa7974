"""How many events of a key must be in Redis, by what the journal has."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from intake.event import Event
from intake.journal_index import JournalIndex
from serving.live.live_log import LiveKey, keys_of


class JournalCounts:
    """Of keys that this process has not read yet. Upper bounds: not all that is journaled counts.

    Offsets are by file: how many of its first bytes.
    """

    def __init__(self, index: JournalIndex[Event]) -> None:
        self._index = index
        self._prepared: Mapping[str, int] = {}
        self._place: Mapping[str, int] = {}
        self._unindexed: Counter[int] = Counter()
        self._foreign: Counter[int] = Counter()
        self._ends: dict[str, int] | None = None
        self._own: set[str] = set()

    def begin(self, prepared: Mapping[str, int], place: Mapping[str, int]) -> None:
        """A replay begins: of what is not prepared, this much was applied before."""
        self._prepared, self._place, self._ends = dict(prepared), dict(place), None
        indexed = self._index.indexed()
        starts = {name: max(indexed.get(name, 0), prepared.get(name, 0)) for name in place}
        self._foreign.clear()
        self._unindexed.clear()
        _count(self._unindexed, self._index.pieces_between(starts, place))

    def end(self, read: Mapping[str, int]) -> None:
        """The replay has read so far: this process knows what it has applied."""
        self._ends = dict(read)

    def note_own(self, names: Iterable[str]) -> None:
        """The files of this process, whose events it knows since the replay."""
        self._own.update(names)

    def applied(self, keys: Sequence[LiveKey]) -> list[int]:
        """How many events had been applied before the replay."""
        found = self._index.count_between(keys, self._prepared, self._place)
        return [n + self._unindexed[hash(key)] for key, n in zip(keys, found, strict=True)]

    def foreign(self, keys: Sequence[LiveKey]) -> list[int]:
        """How many events others have journaled since the replay. During a replay: none."""
        if self._ends is not None:
            behind = self._ends | dict.fromkeys(self._own, sys.maxsize)
            _count(self._foreign, self._index.pieces_behind(behind, self._ends))
        return [self._foreign[hash(key)] for key in keys]


def _count(into: Counter[int], pieces: Iterable[Sequence[Event]]) -> None:
    for piece in pieces:
        into.update(hash(key) for event in piece for key in keys_of(event))
