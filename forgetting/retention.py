"""What is too old to be kept, by `[retention]`: taken out of the journal and the served log."""

from datetime import UTC, datetime, timedelta

from feast_fusion.times import to_micros
from intake.event import EVENT_FORMAT, Event
from intake.journal_erasure import JournalErasure
from intake.workspace import Workspace
from transformations.served_files import served_before


def apply_retention(workspace: Workspace, now: datetime | None = None) -> tuple[int, int]:
    """How many events were too old for the journal, and how many files for the served log.

    An event is as old as its time, and a file as the time when it was written. What an event had
    made of the prepared sources goes with the next preparation.

    Raises
    ------
    SchemaError
        The journal is damaged.
    """
    kept, now = workspace.dataset.retention, now or datetime.now(UTC)
    n_events = n_files = 0
    if kept.journal_days is not None and workspace.events.is_dir():
        n_events = _erase_events(workspace, now - timedelta(days=kept.journal_days))
    if kept.served_days is not None:
        for path in served_before(workspace.served, now - timedelta(days=kept.served_days)):
            path.unlink(missing_ok=True)
            n_files += 1
    return n_events, n_files


def _erase_events(workspace: Workspace, before: datetime) -> int:
    oldest = to_micros(before)

    def is_old(event: Event) -> bool:
        return event.time < oldest

    journal = JournalErasure(workspace.events, EVENT_FORMAT)
    journal.complete()
    return journal.erase_lines(journal.find_lines(is_old)) + journal.erase_archived(is_old)
