"""Users whose online rows were found missing, or older than they were written."""

import logging
from collections.abc import Callable, Collection

from serving.live.live_entities import LiveEntities
from serving.live.live_event import LiveEvent
from serving.live.live_log import LiveKey
from serving.live.live_rows import LiveRows

_MOST = 10_000  # users whose rows are made good one by one

_log = logging.getLogger(__name__)


class LostRows:
    """Notes users without their row, and writes the rows anew. Safe for many threads."""

    def __init__(self) -> None:
        self._users: dict[str, bool] = {}

    def note(self, user_id: str, *, should_be_there: Callable[[], bool]) -> None:
        """Takes note of a user.

        should_be_there : whether it is a sign that Redis loses rows, asked where it is noted
        """
        if len(self._users) < _MOST:
            self._users[user_id] = should_be_there()

    @property
    def should_be_there(self) -> bool:
        """Whether a row is missing that should be there."""
        return any(list(self._users.values()))

    def restore(
        self,
        rows: LiveRows,
        entities: LiveEntities,
        of_journal: Callable[[Collection[LiveKey]], list[LiveEvent]],
    ) -> None:
        """Derives the rows anew; raises as `LiveRows.write`.

        of_journal : the live events of keys
        """
        lost = list(self._users)
        if not lost:
            return
        level = logging.WARNING if self.should_be_there else logging.INFO
        _log.log(level, "Made rows of %d users, which were missing or older", len(lost))
        keys = [LiveKey("user", user_id) for user_id in lost]
        rows.write(entities.history, entities.restore(keys, of_journal(keys)))
        for user_id in lost:
            self._users.pop(user_id, None)
