"""Live events that a preparation has folded in go from Redis when every process knows it."""

from intake.event import Event
from intake.journal_index import JournalIndex
from serving.live.live_log import LiveLog, members_by_key
from serving.live.prepared_history import PreparedHistory


def remove_long_folded(
    live: LiveLog, index: JournalIndex[Event], history: PreparedHistory, previous: PreparedHistory
) -> None:
    """Take out of Redis what the preparation before this one had too.

    Raises
    ------
    StoreUnavailableError
        Redis cannot be reached or refused.
    """
    now, before = history.of_journal, previous.of_journal
    ends = {name: min(end, before[name]) for name, end in now.items() if name in before}
    for piece in index.pieces_between(index.removed(), ends):
        live.remove(members_by_key(piece))
    index.note_removed(ends)
