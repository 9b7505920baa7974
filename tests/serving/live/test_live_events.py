"""The intake: what is acknowledged is kept and applied, what cannot be used is told why."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from cli.embedded_redis import embedded_redis, start_redis, stop_redis
from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError
from intake.event import EVENT_FORMAT, Event
from intake.given_values import CLOCK_SKEW
from intake.journal import Journal
from intake.journal_content import read_events, read_journal
from intake.workspace import Workspace
from serving.live.event_intake import EventIntake
from serving.live.event_screening import FIELDS
from serving.live.live_event import LiveEvent, Outcome
from serving.live.live_features import LiveFeatures
from serving.live.prepared_history import PreparedHistory
from tests.serving.live.live_repo import (
    close,
    differences,
    offline_rows,
    online_rows,
    open_features,
    open_store,
)
from tests.waiting import PATIENCE_S, wait_until

NOW = datetime(2024, 6, 1, tzinfo=UTC)
RATING = {
    "user_id": "u1",
    "item_id": "f1",
    "event_timestamp": "2024-05-01T10:00:00Z",
    "value": 4,
}


@pytest.fixture(scope="module")
def redis_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("redis")
    with embedded_redis(folder):
        yield folder
        stop_redis(folder)  # `start_redis` would keep it


@pytest.fixture
def workspace(workspace: Workspace, redis_folder: Path) -> Workspace:
    with Redis.from_url(start_redis(redis_folder).url) as client:
        client.flushall()
    return workspace


@pytest.fixture
def features(workspace: Workspace, redis_folder: Path) -> Iterator[LiveFeatures]:
    found, store = open_features(workspace, address(redis_folder))
    yield found
    close(store)


@pytest.fixture
def intake(workspace: Workspace, features: LiveFeatures) -> Iterator[EventIntake]:
    with EventIntake(
        Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW
    ) as opened:
        yield opened


def address(folder: Path) -> str:
    return connection_string(start_redis(folder).url)


def ratings(n: int, **changed: Any) -> list[dict[str, Any]]:
    return [
        RATING
        | {
            "event_id": f"n{at}",
            "user_id": f"u{at % 5}",
            "item_id": f"f{at % 25}",
            "event_timestamp": (NOW - timedelta(hours=at * 37 % 500)).isoformat(),
            "value": float(at % 5 + 1),
        }
        | changed
        for at in range(n)
    ]


def mismatches(workspace: Workspace, url: str, folder: Path) -> list[str]:
    store = open_store(workspace, url)
    expected = offline_rows(workspace, folder)
    events = read_events(workspace.events)
    keys = {key for event in events for key in (event.user_id, event.item_id)}
    found = differences(online_rows(workspace, store, expected), expected, keys=keys)
    close(store)
    return found


def test_accepted_events_are_journaled_and_online(
    workspace: Workspace, intake: EventIntake, redis_folder: Path, tmp_path: Path
) -> None:
    done = intake.submit(ratings(40), apply_timeout_s=PATIENCE_S)
    assert done.applied
    assert {each.status for each in done.outcomes} == {"accepted"}
    assert read_journal(workspace.events)["event_id"].to_pylist() == [f"n{n}" for n in range(40)]
    assert mismatches(workspace, address(redis_folder), tmp_path / "offline") == []


def test_each_event_is_screened_once_on_its_way_online(
    intake: EventIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # opening replays the journal, which screens what is there: afterwards
    assert intake.submit(ratings(1, event_id="first"), apply_timeout_s=PATIENCE_S).applied
    asked: list[str] = []
    screen = PreparedHistory.screen

    def noted(self: PreparedHistory, events: Sequence[Event]) -> list[LiveEvent | Outcome]:
        asked.extend(event.event_id for event in events)
        return screen(self, events)

    monkeypatch.setattr(PreparedHistory, "screen", noted)
    assert intake.submit(ratings(40), apply_timeout_s=PATIENCE_S).applied
    assert sorted(asked) == sorted(f"n{n}" for n in range(40))


def test_an_event_without_id_gets_one_and_a_repeated_or_prepared_id_is_a_duplicate(
    intake: EventIntake,
) -> None:
    first = intake.submit([RATING, RATING])
    assert [each.status for each in first.outcomes] == ["accepted", "accepted"]
    given_ids = [each.event_id for each in first.outcomes]
    assert len(set(given_ids)) == 2
    again = [RATING | {"event_id": event_id} for event_id in [given_ids[0], "r0", "new", "new"]]
    second = intake.submit(again, apply_timeout_s=PATIENCE_S)
    assert [each.status for each in second.outcomes] == [
        *["duplicate"] * 2,
        "accepted",
        "duplicate",
    ]
    assert [each.event_id for each in second.outcomes] == [given_ids[0], "r0", "new", "new"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"user_id": None}, "null user_id"),
        ({"item_id": ""}, "empty item_id"),
        ({"item_id": "nowhere"}, "unknown item_id"),
        ({"user_id": ["u1"]}, "user_id is a list"),
        ({"user_id": True}, "user_id is true, expected text"),
        ({"user_id": "u" * 513}, "user_id longer than 512"),
        ({"user_id": 10**5000}, "user_id is an integer of more than 18 digits"),
        ({"item_id": -(10**18)}, "item_id is an integer of more than 18 digits"),
        ({"event_id": "\ud800"}, "event_id is not valid Unicode"),
        ({"event_type": 4.5}, "event_type is a number, expected text"),
        ({"event_timestamp": None}, "null event_timestamp"),
        ({"event_timestamp": "2024-05-01T10:00:00"}, "event_timestamp without zone"),
        ({"event_timestamp": datetime(2024, 5, 1)}, "event_timestamp without zone"),
        ({"event_timestamp": "yesterday"}, "unparsable event_timestamp"),
        ({"event_timestamp": 1714557600}, "unparsable event_timestamp"),
        ({"event_timestamp": NOW + CLOCK_SKEW + timedelta.resolution}, "in the future"),
        ({"value": "4"}, "value is text, expected a number"),
        ({"value": True}, "value is true, expected a number"),
        ({"value": float("nan")}, "infinite value"),
        ({"value": 10**400}, "infinite value"),
        ({"event_timestamp": "0001-01-01T00:00:00Z"}, "event_timestamp out of range"),
        ({"value": 1e308}, "value out of range: -1e+12 to 1e+12"),
        ({"value": -1e308}, "value out of range"),
        ({"value": None}, "null value"),
        ({"stars": 5}, "unknown field 'stars', expected one of event_id, user_id"),
    ],
)
def test_what_cannot_be_used_is_told_why_and_the_rest_goes_on(
    workspace: Workspace, intake: EventIntake, changed: dict[str, Any], reason: str
) -> None:
    outcomes = intake.submit([RATING | changed, RATING | {"event_id": "good"}]).outcomes
    assert [each.status for each in outcomes] == ["rejected", "accepted"]
    assert reason in str(outcomes[0].reason)
    assert read_journal(workspace.events)["event_id"].to_pylist() == ["good"]


def test_what_is_taken_in_is_what_was_meant(workspace: Workspace, intake: EventIntake) -> None:
    intake.submit(
        [
            RATING | {"event_id": 7, "event_type": "buy"},
            RATING | {"event_timestamp": "2024-05-01T12:30:00.25+02:30"},
            RATING
            | {"event_timestamp": datetime(2024, 5, 1, 5, tzinfo=timezone(-timedelta(hours=5)))},
            RATING | {"event_timestamp": NOW + CLOCK_SKEW},
        ]
    )
    first, second, third, ahead = read_events(workspace.events)
    assert (first.event_id, first.user_id, first.event_type, first.value) == ("7", "u1", "buy", 4.0)
    assert second.time == first.time + 250_000
    assert third.time == first.time
    assert ahead.time > ahead.received == int(NOW.timestamp()) * 1_000_000


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
some_value = json_like | st.sampled_from(["u1", "f1", "f2", "2024-05-01T10:00:00Z", 3.0])


@settings(max_examples=150)
@given(batch=st.lists(st.dictionaries(st.sampled_from([*FIELDS, "?"]), some_value) | json_like))
def test_nothing_that_json_can_say_breaks_the_intake(
    batch: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcomes = SHARED[0].submit(batch).outcomes
    assert len(outcomes) == len(batch)
    assert all(each.reason for each in outcomes if each.status == "rejected")


SHARED: list[EventIntake] = []


@pytest.fixture(autouse=True)
def shared(request: pytest.FixtureRequest) -> Iterator[None]:
    """The intake of the test that runs many examples on one."""
    if request.node.originalname == "test_nothing_that_json_can_say_breaks_the_intake":
        SHARED.append(request.getfixturevalue("intake"))
    yield
    SHARED.clear()


def test_a_full_journal_accepts_nothing(workspace: Workspace, intake: EventIntake) -> None:
    shutil.rmtree(workspace.events)
    with pytest.raises(StoreUnavailableError, match="journal"):
        intake.submit([RATING | {"event_id": "lost"}])
    workspace.events.mkdir()
    outcomes = intake.submit([RATING | {"event_id": "lost"}]).outcomes
    assert [each.status for each in outcomes] == ["accepted"]


def test_with_the_store_down_events_are_kept_and_applied_on_its_return(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "redis"
    features, store = open_features(workspace, address(folder))
    server = start_redis(folder)
    with EventIntake(
        Journal(workspace.events, EVENT_FORMAT), features, max_pending=30, clock=lambda: NOW
    ) as intake:
        assert intake.submit(ratings(5), apply_timeout_s=PATIENCE_S).applied
        stop_redis(folder)
        down = intake.submit(ratings(20)[5:], apply_timeout_s=0.05)
        assert not down.applied
        assert {each.status for each in down.outcomes} == {"accepted"}
        # more than may be pending: they are left to the journal
        assert not intake.submit(ratings(60)[20:], apply_timeout_s=0.05).applied
        wait_until(lambda: intake.last_error is not None)
        assert intake.n_pending == 15
        (folder / "dump.rdb").unlink()  # it comes back without its data
        assert start_redis(folder).url == server.url
        wait_until(lambda: intake.last_error is None and intake.n_pending == 0)
        assert intake.submit(ratings(61)[60:], apply_timeout_s=PATIENCE_S).applied
        assert mismatches(workspace, address(folder), tmp_path / "offline") == []
    close(store)
    stop_redis(folder)


def test_closing_finishes_what_was_accepted(
    workspace: Workspace, features: LiveFeatures, redis_folder: Path, tmp_path: Path
) -> None:
    intake = EventIntake(Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW)
    threads = [
        threading.Thread(target=lambda at=at: [intake.submit([one]) for one in ratings(200)[at::4]])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    intake.close()
    intake.close()
    assert intake.n_pending == 0
    assert mismatches(workspace, address(redis_folder), tmp_path / "offline") == []
    with pytest.raises(StoreUnavailableError, match="closed"):
        intake.submit([RATING])


def test_closing_does_not_wait_for_a_store_that_is_down(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "redis"
    features, store = open_features(workspace, address(folder))
    stop_redis(folder)
    intake = EventIntake(Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW)
    intake.submit(ratings(3))
    began = time.monotonic()
    intake.close(timeout_s=0.5)
    assert time.monotonic() - began < PATIENCE_S
    assert len(read_events(workspace.events)) == 3
    close(store)


SERVE = """
import json, sys, threading
from datetime import UTC, datetime
from feast_fusion.feast_command import import_lightly
import_lightly()
from serving.live.event_intake import EventIntake
from tests.serving.live.live_repo import open_features
from tests.serving.live.test_live_events import NOW, ratings
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.workspace import open_workspace

dataset, home, url = sys.argv[1:]
workspace = open_workspace(dataset, home)
features, store = open_features(workspace, url)
intake = EventIntake(Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW)
lock = threading.Lock()

def send(caller):
    for at in range(10**6):
        batch = ratings(at + 2)[at:] if at < 400 else ratings(2)
        batch = [one | {"event_id": f"{caller}-{at}-{n}"} for n, one in enumerate(batch)]
        done = intake.submit(batch)
        with lock:
            print(json.dumps([each.event_id for each in done.outcomes]), flush=True)

for caller in range(8):
    threading.Thread(target=send, args=(caller,)).start()
"""


def test_after_a_kill_everything_acknowledged_is_online_once(
    workspace: Workspace, redis_folder: Path, tmp_path: Path
) -> None:
    url = address(redis_folder)
    command = [sys.executable, "-W", "ignore", "-c", SERVE]
    command += [str(workspace.dataset.path), str(workspace.home), url]
    acknowledged: set[str] = set()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as child:
        assert child.stdout is not None
        for _ in range(200):
            acknowledged.update(json.loads(child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        said = child.stdout.read()
        for line in said[: said.rfind("\n") + 1].splitlines():
            acknowledged.update(json.loads(line))
    ids = read_journal(workspace.events)["event_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert acknowledged <= set(ids)
    features, store = open_features(workspace, url)
    with EventIntake(Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW):
        pass  # closing finishes the replay that opening began
    assert mismatches(workspace, url, tmp_path / "offline") == []
    close(store)
