"""Live events that a preparation has folded in: their rows, and when they go from Redis."""

from pathlib import Path

from intake.event import Event
from intake.journal_content import journal_keys
from intake.journal_index import JournalIndex
from serving.live.live_entities import LiveEntities
from serving.live.live_log import LiveKey, LiveLog, members_by_key
from serving.live.live_rows import LiveRows
from serving.live.prepared_history import PreparedHistory

_WRITTEN_AT_ONCE = 2_000


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


def write_folded(rows: LiveRows, entities: LiveEntities, journal: Path) -> None:
    """Write the rows of users and items of a journal of which all events are folded in.

    Raises
    ------
    StoreUnavailableError
        As `remove_long_folded`.
    """
    keys = map(LiveKey._make, journal_keys(journal))
    folded = [key for key in keys if entities.state(key) is None]
    for at in range(0, len(folded), _WRITTEN_AT_ONCE):
        piece = folded[at : at + _WRITTEN_AT_ONCE]
        rows.write(entities.history, entities.restore(piece, [], touch=True))
