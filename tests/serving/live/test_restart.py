"""A process that starts goes on from where the last one was, whatever happened meanwhile."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from feast import FeatureStore
from redis import Redis

from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.journal_index import JournalIndex
from intake.workspace import Workspace
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from serving.live.live_log import Addition, LiveKey, LiveLog, Read
from tests.feast_fusion.online.redis_faults import redis_process
from tests.serving.live.live_repo import close, open_features
from tests.serving.live.test_live_events import NOW, ratings
from tests.serving.live.test_live_features import mismatches
from tests.waiting import PATIENCE_S, wait_until
from transformations.prepared_sources import write_sources


@pytest.fixture
def url(server: RunningRedis) -> str:
    with Redis.from_url(server.url) as client:
        client.flushall()
    return connection_string(server.url)


@contextmanager
def service(
    workspace: Workspace, url: str
) -> Iterator[tuple[EventIntake, LiveFeatures, FeatureStore]]:
    """One process; at its end all is applied that it took."""
    features, store = open_features(workspace, url)
    with EventIntake(
        Journal(workspace.events, EVENT_FORMAT), features, clock=lambda: NOW
    ) as intake:
        wait_until(lambda: not features.is_behind)
        yield intake, features, store
    close(store)


def post(intake: EventIntake, first: int, end: int) -> None:
    assert intake.submit(ratings(end)[first:], apply_timeout_s=PATIENCE_S).applied


def event(number: int, **changed: object) -> Event:
    plain = Event(f"n{number}", f"u{number % 5}", f"f{number % 25}", number, 4.0, None, number)
    return plain._replace(time=int(NOW.timestamp()) * 10**6 - number)._replace(**changed)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The events that are put into Redis from now on."""
    added: list[bytes] = []
    add = LiveLog.add

    def noted(
        self: LiveLog, additions: Mapping[LiveKey, Addition], *, touch: bool = False
    ) -> tuple[str | None, dict[LiveKey, Read]]:
        added.extend(member for each in additions.values() for member in each.members)
        return add(self, additions, touch=touch)

    monkeypatch.setattr(LiveLog, "add", noted)
    return added


def test_a_start_applies_what_came_since_and_knows_what_was_before(
    workspace: Workspace, url: str, tmp_path: Path, put: list[bytes]
) -> None:
    with service(workspace, url) as (intake, features, _):
        post(intake, 0, 40)
        acted_on = {f"u{n}": features.acted_on(f"u{n}") for n in range(5)}
        assert all(acted_on.values())
    since = [event(number) for number in range(40, 45)]
    with Journal(workspace.events, EVENT_FORMAT) as journal:  # killed before it applied them
        journal.append(since)
    put.clear()
    with service(workspace, url) as (_, features, store):
        assert len({*put}) == len(since)
        for number, (user, items) in enumerate(acted_on.items(), start=40):
            assert features.acted_on(user) == items | {f"f{number % 25}"}
        assert features.acted_on("nobody") == set()
        events = [*since, *(event(number) for number in range(40))]
        assert mismatches(workspace, store, events, tmp_path / "offline") == []
    put.clear()
    with service(workspace, url) as (_, features, _):
        assert put == []
        assert features.acted_on("u0") == acted_on["u0"] | {"f15"}


def test_what_redis_lost_while_no_process_ran_is_noticed_when_it_is_needed(
    workspace: Workspace, server: RunningRedis, url: str, tmp_path: Path
) -> None:
    with service(workspace, url) as (intake, _, _):
        post(intake, 0, 40)
    with Redis.from_url(server.url) as client:
        assert client.delete("fusion:live:films:user:u1", "fusion:live:films:item:f16") == 2
        rows = [*client.scan_iter("*user_id*u2*films")]
        assert client.delete(*rows)
    with service(workspace, url) as (intake, features, store):
        post(intake, 41, 42)  # of u1 and f16
        features.note_loss("u2", False)
        features.note_loss("nobody", False)
        assert features.is_behind  # of u2: it has events
        wait_until(lambda: not features.is_behind)
        lost = [event(41), event(2, item_id="f2")]
        assert mismatches(workspace, store, lost, tmp_path / "offline") == []


def test_an_older_state_of_redis_is_made_good_from_its_own_place_on(
    workspace: Workspace, tmp_path: Path, put: list[bytes]
) -> None:
    with redis_process(tmp_path / "redis") as redis:
        url = f"{redis.address},db=0"
        with service(workspace, url) as (intake, _, _):
            post(intake, 0, 20)
        with redis.client() as client:
            client.save()
        with service(workspace, url) as (intake, _, _):
            post(intake, 20, 40)
        redis.stop()
        redis.start()
        put.clear()
        with service(workspace, url) as (_, _, store):
            assert len({*put}) == 20
            events = [event(number) for number in range(40)]
            assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_events_are_archived_while_the_service_that_took_them_runs(
    workspace: Workspace, url: str, tmp_path: Path
) -> None:
    def n_files() -> int:
        return len([*workspace.events.glob("*.jsonl")])

    with service(workspace, url) as (intake, _, store):
        post(intake, 0, 40)
        index = JournalIndex(workspace.events, EVENT_FORMAT)
        assert index.archive(workspace.read_prepared_journal()) == 0
        write_sources(workspace)
        # it sees the preparation, and begins another file
        wait_until(lambda: index.archive(workspace.read_prepared_journal()) == 1)
        assert n_files() == 0
        post(intake, 40, 60)
        again = intake.submit(ratings(1)).outcomes
        assert [each.status for each in again] == ["duplicate"]
        events = [event(number) for number in range(60)]
        assert mismatches(workspace, store, events, tmp_path / "offline") == []
        assert write_sources(workspace).rows["interactions"] == 660
        wait_until(lambda: index.archive(workspace.read_prepared_journal()) == 1)
    with service(workspace, url) as (intake, features, _):
        assert n_files() == 0
        assert features.acted_on("u1") == set()  # all is prepared
        assert intake.submit(ratings(60)[59:]).outcomes[0].status == "duplicate"
