"""When live events come on top of a new preparation."""

import logging
from collections.abc import Callable

from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace
from serving.live.live_event import Stamp
from serving.live.prepared_history import Embedders, PreparedHistory, read_stamp

_log = logging.getLogger(__name__)


class NewestHistory:
    """Looks for new preparations of a workspace.

    Where answers are made from a preparation too, as what a user has had is, live events follow it
    and never come first: an event that the newer preparation has would be no live event any more,
    and not yet in an answer.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._answered: Callable[[], Stamp | None] | None = None

    def follow(self, answered: Callable[[], Stamp | None]) -> None:
        """From here on only a preparation is taken up whose stamp `answered` gives."""
        self._answered = answered

    def after(self, history: PreparedHistory, embedders: Embedders) -> PreparedHistory:
        """The newest preparation that may be taken up; `history` where it is the one.

        embedders : of the interest vectors
        """
        try:
            stamp = read_stamp(self._workspace)
            if stamp == history.stamp or (self._answered and self._answered() != stamp):
                return history
            return PreparedHistory(self._workspace, embedders)
        except FeatureNotFoundError as error:
            # For a moment while one takes the place of the other; the old one holds until then.
            _log.info("Live events stay on the preparation in memory: %s", error)
            return history
