"""How many events of a key must be in Redis, by what the journal has."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from intake.journal_index import JournalIndex
from serving.live.live_log import LiveKey, keys_of


class JournalCounts:
    """Of keys that this process has not read yet. Upper bounds: not all that is journaled counts.

    Offsets are by file: how many of its first bytes.
    """

    def __init__(self, index: JournalIndex) -> None:
        self._index = index
        self._prepared: Mapping[str, int] = {}
        self._place: Mapping[str, int] = {}
        self._foreign: Counter[int] = Counter()
        self._ends: dict[str, int] | None = None
        self._own: set[str] = set()

    def begin(self, prepared: Mapping[str, int], place: Mapping[str, int]) -> None:
        """A replay begins: of what is not prepared, this much was applied before."""
        self._prepared, self._place = dict(prepared), dict(place)
        self._foreign.clear()
        self._ends = None

    def end(self, read: Mapping[str, int]) -> None:
        """The replay has read so far: what is behind that, or not in the index, is counted."""
        indexed = self._index.indexed()
        self._ends = {
            name: max(min(end, indexed.get(name, 0)), self._prepared.get(name, 0))
            for name, end in read.items()
        }
        self._count(skipped=())

    def note_own(self, names: Iterable[str]) -> None:
        """The files of this process, whose events it knows since the replay."""
        self._own.update(names)

    def applied(self, keys: Sequence[LiveKey]) -> list[int]:
        """How many of the events that were applied before the replay are in the index."""
        return self._index.count_between(keys, self._prepared, self._place)

    def foreign(self, keys: Sequence[LiveKey]) -> list[int]:
        """How many events are in no index, but for those of this process since the replay.

        Nothing is counted during a replay.
        """
        self._count(skipped=self._own)
        return [self._foreign[hash(key)] for key in keys]

    def _count(self, skipped: Iterable[str]) -> None:
        if self._ends is not None:
            behind = self._ends | dict.fromkeys(skipped, sys.maxsize)
            for piece in self._index.pieces_behind(behind, self._ends):
                self._foreign.update(hash(key) for event in piece for key in keys_of(event))
