"""`feast-fusion refresh`: after a full one everything is as if all events had come in time."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli.embedded_redis import embedded_redis
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from tests.cli.online_interest import online_interest
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from transformations.schema import CAUSED_AFTER_US


@pytest.fixture
def project(films: Project, tmp_path: Path) -> Project:
    copied = copy_project(films, tmp_path / "home")
    with embedded_redis(copied.workspace.redis):
        yield copied


def newest_interest(project: Project, user_id: str) -> tuple[datetime, np.ndarray]:
    (folder,) = project.workspace.sinks.glob("user_interest__*")
    rows = pl.read_parquet(folder / "*.parquet").filter(pl.col("user_id") == user_id)
    last = rows.sort("event_timestamp").row(-1, named=True)
    return last["event_timestamp"], np.array(last["user_interest"], dtype=np.float32)


def post_late(project: Project, user_id: str, item_id: str, event_id: str) -> datetime:
    """An event between the user's others, which is in no file."""
    events = pl.read_parquet(project.workspace.sources / "interactions.parquet")
    times = events.filter(pl.col("user_id") == user_id)["event_timestamp"].sort()
    moment: datetime = times[-2] + timedelta(seconds=1)
    journal = Journal(project.workspace.events, EVENT_FORMAT)
    micros = int(moment.timestamp() * 1_000_000)
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    assert journal.append([Event(event_id, user_id, item_id, micros, 5.0, None, now)]) == [True]
    journal.close()
    return moment


def test_a_late_event_is_everywhere_after_a_full_refresh(project: Project) -> None:
    user = "u1"
    stamp, before = newest_interest(project, user)
    moment = post_late(project, user, "f77", "late-1")
    printed = project.here("refresh", "incremental").stdout
    assert "rows computed anew" not in printed
    assert "1 file of live events" in printed
    events = project.workspace.events
    assert [path.parent.name for path in events.rglob("*.[jp]*") if path.is_file()] == ["archive"]
    same_stamp, unchanged = newest_interest(project, user)
    assert same_stamp == stamp
    np.testing.assert_array_equal(unchanged, before)  # a run adds, and changes no row
    printed = project.here("refresh", "hybrid").stdout
    assert "full this time" in printed
    anew = re.findall(r"(\w+)__\w+: [\d,]+ rows computed anew", printed)
    assert {*anew} == {"item_embedding", "user_embedding", "user_interest"}
    same_stamp, after = newest_interest(project, user)
    assert same_stamp == stamp
    assert not np.array_equal(after, before)
    (folder,) = project.workspace.sinks.glob("user_interest__*")
    rows = pl.read_parquet(folder / "*.parquet").filter(pl.col("user_id") == user)
    caused = moment + timedelta(microseconds=CAUSED_AFTER_US)
    assert (rows["event_timestamp"] == caused).sum() == 1
    np.testing.assert_array_equal(online_interest(project, user), after)
    assert "incremental this time" in project.here("refresh", "hybrid").stdout
