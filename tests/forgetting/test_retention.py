"""What is too old goes from the journal, its archive and the served log; what is newer stays."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forgetting.retention import apply_retention
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.journal_content import read_content, read_events
from intake.journal_index import JournalIndex
from intake.workspace import Workspace, open_workspace
from tests.datasets import START, make_films
from tests.forgetting.known_person import event_of
from transformations.served_files import new_served_file, served_files

NOW = START + timedelta(days=60)
BOUNDS = "\n[retention]\njournal_days = 20\nserved_days = 0.5\n"


def workspace_of(folder: Path, more: str) -> Workspace:
    description = make_films(folder / "data", n_users=5, n_items=10, n_events=20)
    description.write_text(description.read_text() + more)
    return open_workspace(description, folder / "home")


def test_only_what_is_older_goes(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, BOUNDS)
    archived = [event_of("u1", n, days) for n, days in enumerate((10, 39, 45))]
    live = [event_of("u2", n, days) for n, days in enumerate((10, 39, 45))]
    for events in (archived, live):
        with Journal(workspace.events, EVENT_FORMAT) as journal:
            journal.append(events)
        if events is archived:
            with closing(JournalIndex(workspace.events, EVENT_FORMAT)) as index:
                index.archive(read_content(workspace.events, EVENT_FORMAT).ends)
    workspace.served.mkdir()
    new = new_served_file(workspace.served, 1)
    old = workspace.served / f"served-{datetime.now(UTC) - timedelta(days=1):%Y%m%dT%H%M%S%f}-0-a"
    for path in (new, old.with_suffix(".parquet")):
        path.touch()
    assert apply_retention(workspace, NOW) == (4, 0)
    assert read_events(workspace.events) == [archived[2], live[2]]
    assert apply_retention(workspace) == (2, 1)  # by the clock all events are of long ago
    assert read_events(workspace.events) == []
    assert served_files(workspace.served) == [new]


def test_without_bounds_everything_stays(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, "")
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append([event_of("u1", 1)])
    assert apply_retention(workspace) == (0, 0)
    assert len(read_events(workspace.events)) == 1
