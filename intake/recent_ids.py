"""The ids of the last events, in memory."""

from collections import OrderedDict
from collections.abc import Iterable

_KEPT = 100_000  # more than an index that can be written is behind


class RecentIds:
    """The ids that a journal was opened with, and the last ones that came through it.

    Attributes
    ----------
    n_added : how many came through it
    """

    def __init__(self, foreign: Iterable[str]) -> None:
        self._foreign = set(foreign)
        self._ids: OrderedDict[str, None] = OrderedDict()
        self.n_added = 0

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids or event_id in self._foreign

    def has_all_since(self, n_added: int) -> bool:
        """Whether all that came since there were `n_added` are here."""
        return self.n_added - n_added <= _KEPT

    def add(self, event_ids: Iterable[str]) -> None:
        """Takes note of more of them, and forgets the oldest."""
        for event_id in event_ids:
            self._ids[event_id] = None
            self.n_added += 1
        while len(self._ids) > _KEPT:
            self._ids.popitem(last=False)
