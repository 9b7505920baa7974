"""Users who left take no room in Redis, and have again all that they had when they return."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

import pytest
from feast import FeatureStore
from redis import Redis

from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.online.read_plan import timestamp_field
from intake.journal_content import read_events
from intake.workspace import Workspace, open_workspace
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from tests.serving.live.live_repo import close, open_features
from tests.serving.live.test_live_events import ratings
from tests.serving.live.test_live_features import mismatches, push
from tests.serving.live.test_restart import event, service
from tests.waiting import PATIENCE_S, wait_until

LONG_S, SHORT_S = 3600, 0.3
PREPARED, NEW = "u1", "新"
ACTIVE = "fusion:live:films:active"
MARK = {timestamp_field("user_recent"): b""}


def with_ttl(workspace: Workspace, user_ttl_s: float) -> Workspace:
    with workspace.dataset.path.open("a", encoding="utf-8") as file:
        file.write(f"\n[live]\nuser_ttl_s = {user_ttl_s}\n")
    return open_workspace(workspace.dataset.path, workspace.home)


def fields(client: Redis, user_id: str) -> dict[bytes, bytes]:
    """What Redis has of the user's rows."""
    (key,) = client.scan_iter(f"*user_id*{user_id}*films".encode())
    found: dict[bytes, bytes] = client.hgetall(key)
    return found


@dataclass
class Shop:
    """A service, and the Redis that it writes."""

    workspace: Workspace
    client: Redis
    url: str
    intake: EventIntake
    features: LiveFeatures
    store: FeatureStore
    numbers: Iterator[int] = field(default_factory=count)

    def post(self, user_id: str, n: int) -> None:
        for number in islice(self.numbers, n):
            event = ratings(number + 1, user_id=user_id)[number:]
            assert self.intake.submit(event, apply_timeout_s=PATIENCE_S).applied

    def sets(self) -> set[str]:
        """Users whose live events are in Redis."""
        prefix = "fusion:live:films:user:"
        return {key.decode()[len(prefix) :] for key in self.client.scan_iter(f"{prefix}*")}

    def leave(self, *user_ids: str) -> None:
        """As if their last event was long ago."""
        assert self.client.zadd(ACTIVE, dict.fromkeys(user_ids, 0), xx=True, ch=True)
        wait_until(lambda: self.sets().isdisjoint(user_ids))
        wait_until(lambda: not any(self.client.zmscore(ACTIVE, [*user_ids])))

    def mismatches(self, folder: Path) -> list[str]:
        """How rows differ from those that the journal gives, replayed by event time."""
        return mismatches(self.workspace, self.store, read_events(self.workspace.events), folder)


@pytest.fixture
def client(server: RunningRedis) -> Iterator[Redis]:
    with Redis.from_url(server.url) as opened:
        opened.flushall()
        yield opened


@pytest.fixture
def shop(
    workspace: Workspace, server: RunningRedis, client: Redis, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    workspace = with_ttl(workspace, getattr(request, "param", LONG_S))
    url = connection_string(server.url)
    with service(workspace, url) as (intake, features, store):
        yield Shop(workspace, client, url, intake, features, store)


@pytest.mark.parametrize("shop", [SHORT_S], indirect=True)
def test_without_an_event_for_so_long_a_user_leaves(shop: Shop, client: Redis) -> None:
    shop.post(PREPARED, 3)
    kept = fields(client, PREPARED)
    shop.post(NEW, 4)
    wait_until(lambda: not shop.sets() and not client.zcard(ACTIVE))
    assert fields(client, NEW) == MARK
    assert fields(client, PREPARED) == kept  # materializing would make as large a row
    assert client.exists("fusion:live:films:item:f1")


def test_who_returns_with_an_event_has_the_rows_of_a_replay(
    shop: Shop, client: Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop.post(PREPARED, 8)
    shop.post(NEW, 9)
    shop.post("u2", 2)
    shop.leave(PREPARED, NEW)
    assert shop.sets() == {"u2"}
    with caplog.at_level(logging.WARNING, "serving.live"):
        for user_id in (PREPARED, NEW):
            shop.post(user_id, 1)
    assert caplog.records == []  # it is no loss
    assert shop.sets() == {PREPARED, NEW, "u2"}
    assert shop.mismatches(tmp_path / "offline") == []
    of_new = {each.item_id for each in read_events(shop.workspace.events) if each.user_id == NEW}
    assert len(of_new) == 10 and shop.features.acted_on(NEW) == of_new


def test_who_returns_with_a_request_has_the_rows_of_a_replay_and_may_leave_again(
    shop: Shop, client: Redis, tmp_path: Path
) -> None:
    shop.post(NEW, 7)
    shop.leave(NEW)
    shop.features.note_loss(NEW, True)
    assert not shop.features.is_behind  # the service is as ready as before
    wait_until(lambda: fields(client, NEW) != MARK)
    assert shop.mismatches(tmp_path / "offline") == []
    shop.leave(NEW)
    assert fields(client, NEW) == MARK


def test_a_process_that_never_saw_the_user_makes_the_rows_too(
    shop: Shop, client: Redis, tmp_path: Path
) -> None:
    shop.post(NEW, 7)  # the journal is being written, and has no index yet
    shop.leave(NEW)
    late, store = open_features(shop.workspace, shop.url)
    late.refresh()
    late.note_loss(NEW, True)
    late.refresh()
    assert shop.mismatches(tmp_path / "offline") == []
    close(store)


def test_who_returns_while_another_process_removes_him_is_found_marked(
    workspace: Workspace,
    server: RunningRedis,
    client: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace, url = with_ttl(workspace, LONG_S), connection_string(server.url)
    (one, store), (other, opened) = [open_features(workspace, url) for _ in range(2)]
    events = [event(number, user_id=NEW) for number in range(9)]
    push(workspace, one, events[:6], 6)
    other.refresh()
    client.zadd(ACTIVE, {NEW: 0})
    departures = other._rows.departures
    assert departures is not None
    mark_left = departures.views.mark_left

    def after_the_return(views: list[str], user_ids: list[str]) -> None:
        push(workspace, one, events[6:8], 1)
        mark_left(views, user_ids)

    monkeypatch.setattr(departures.views, "mark_left", after_the_return)
    other.keep_place({})
    assert fields(client, NEW) == MARK
    assert client.zscore(ACTIVE, NEW) > 0  # the user may leave later
    one.note_loss(NEW, True)  # as the next request does
    one.refresh()
    assert mismatches(workspace, store, events[:8], tmp_path / "offline") == []
    push(workspace, other, events[8:], 1)
    assert mismatches(workspace, store, events, tmp_path / "again") == []
    for each in (store, opened):
        close(each)
