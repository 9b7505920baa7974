"""Live events online: at any time what offline makes of the same events, to the last bit."""

import random
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from feast import FeatureStore
from redis import Redis

from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.workspace import Workspace
from serving.live import live_entity
from serving.live.followed_encoders import FollowedEncoders
from serving.live.journal_counts import JournalCounts
from serving.live.live_entities import LiveEntities
from serving.live.live_entity import LiveEntity
from serving.live.live_features import LiveFeatures
from serving.live.live_log import Addition, LiveKey, LiveLog, Read
from serving.live.live_rows import LiveRows
from serving.online_views import OnlineViews
from tests.datasets import START
from tests.serving.live.live_repo import (
    close,
    differences,
    embedder,
    offline_rows,
    online_rows,
    open_features,
    open_store,
)
from transformations.interest import step
from transformations.prepared_sources import write_sources
from transformations.running_activity import Occurrence, RunningInterest

HOUR = 3_600_000_000
T0 = int(START.timestamp()) * 1_000_000


def random_events(seed: int, n: int, tag: str = "x") -> list[Event]:
    """Of few users, at the instants of prepared events and later, some sent twice or prepared."""
    rng = random.Random(seed)
    events = [
        Event(
            event_id=f"{tag}{number}" if rng.random() > 0.03 else f"r{rng.randrange(600)}",
            user_id=rng.choice(["u1", "u2", "u3", "u4", "u5", "new", "新"]),
            item_id=f"f{rng.randrange(25)}",
            time=T0 + rng.choice([HOUR, HOUR, HOUR // 7]) * rng.randrange(60 * 24),
            value=float(rng.randrange(1, 6)),
            event_type=rng.choice([None, "view", "buy", "other"]),
            received=number,
        )
        for number in range(n)
    ]
    return events + rng.sample(events, n // 10)


@pytest.fixture
def redis(server: RunningRedis) -> Iterator[Redis]:
    client = Redis.from_url(server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def url(server: RunningRedis, redis: Redis) -> str:
    return connection_string(server.url)


@pytest.fixture
def live(workspace: Workspace, url: str) -> Iterator[tuple[LiveFeatures, FeatureStore]]:
    features, store = open_features(workspace, url)
    yield features, store
    close(store)


def mismatches(
    workspace: Workspace, store: FeatureStore, events: list[Event], folder: Path
) -> list[str]:
    """How the online rows of the users and items of live events differ from offline."""
    expected = offline_rows(workspace, folder)
    keys = {key for e in events if e.event_id[0] != "r" for key in (e.user_id, e.item_id)}
    return differences(online_rows(workspace, store, expected), expected, keys=keys)


def push(workspace: Workspace, features: LiveFeatures, events: list[Event], size: int) -> None:
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        for start in range(0, len(events), size):
            journal.append(events[start : start + size])
            features.apply(features.history.live_events(events[start : start + size]))


@pytest.mark.parametrize(("seed", "size", "every"), [(1, 1, 3), (2, 7, 8), (3, 400, 256)])
def test_late_and_repeated_events_give_the_rows_of_a_replay_by_event_time(
    workspace: Workspace,
    live: tuple[LiveFeatures, FeatureStore],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    size: int,
    every: int,
) -> None:
    monkeypatch.setattr(live_entity, "_EVERY", every)  # so often a state is kept to go back to
    features, store = live
    events = random_events(seed, 120)
    push(workspace, features, events, size)
    assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_a_late_event_replays_about_as_many_as_it_is_late_by(
    live: tuple[LiveFeatures, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    history, n = live[0].history, 20_000
    moment = T0 + 100 * 24 * HOUR
    occurrences = {
        b"%d" % at: Occurrence(moment + at * HOUR, at % 25, f"{at}", at % 3 == 0, at % 7 / 3, None)
        for at in range(n)
    }
    late = [n - 5, n - 700, n - 9_000, n // 7]
    in_time = [member for at, member in enumerate(occurrences) if at not in late]
    for kind in ("user", "item"):
        entity, whole = (LiveEntity(history, LiveKey(kind, "none")) for _ in range(2))
        entity.advance(Read(1, 0, len(in_time), in_time), occurrences)
        whole.advance(Read(1, 0, n, [*occurrences]), occurrences)
        for n_read, at in enumerate(late, start=len(in_time)):
            added: list[Occurrence] = []
            add = type(entity.statistics).add
            with monkeypatch.context() as patch:
                patch.setattr(
                    type(entity.statistics),
                    "add",
                    lambda self, event, add=add, to=added: [to.append(event), add(self, event)],
                )
                entity.advance(Read(1, n_read, n_read + 1, [b"%d" % at]), occurrences)
            assert n - at - len(late) <= len({*added}) <= 2 * (n - at) + 2 * live_entity._EVERY
        assert entity.statistics.row() == whole.statistics.row()
        assert entity.statistics.keep() == whole.statistics.keep()
        assert len(entity.interests) == (kind == "user")
        for encoder_id, interest in entity.interests.items():
            assert interest.state is not None
            expected = whole.interests[encoder_id].state
            assert expected is not None and interest.state.tobytes() == expected.tobytes()


START_ENTITY, ADD_TO_INTEREST = LiveEntity._start, RunningInterest.add


def late_at_the_end(self: LiveEntity, live: Collection[Occurrence]) -> None:
    START_ENTITY(self, ())
    self._add(list(live))


def ignore_types(self: RunningInterest, event: Occurrence) -> None:
    ADD_TO_INTEREST(self, event._replace(event_type=None))


@pytest.mark.parametrize(
    ("where", "wrong", "view"),
    [
        ("serving.live.live_entity.LiveEntity._start", late_at_the_end, "user_recent"),
        (
            "transformations.running_activity.RunningInterest.add",
            ignore_types,
            "user_interest",
        ),
        (
            "transformations.running_activity.step",
            lambda state, item, weight, decay: step(state, item, weight, decay + 1e-3),
            "user_interest",
        ),
    ],
)
def test_a_planted_mistake_is_found(
    workspace: Workspace,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    wrong: Callable[..., object],
    view: str,
) -> None:
    features, store = open_features(workspace, url)
    events = random_events(4, 60)
    push(workspace, features, events[:30], 30)
    monkeypatch.setattr(where, wrong)
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events[30:])
    features.apply(features.history.live_events(events[30:]))
    found = mismatches(workspace, store, events, tmp_path / "offline")
    assert any(line.startswith(view) for line in found)
    close(store)


PUSH = """
import random, sys
from feast_fusion.feast_command import import_lightly
import_lightly()
from tests.serving.live.live_repo import close, open_features
from tests.serving.live.test_live_features import push, random_events
from intake.workspace import open_workspace

dataset, home, url, seed = sys.argv[1:]
workspace = open_workspace(dataset, home)
features, store = open_features(workspace, url)
print("ready", flush=True)
sys.stdin.readline()
own = random_events(int(seed), 150, tag=f"{seed}-")
shared = random_events(99, 60, tag="shared-")  # both send these, each in its own order
events = own + shared
random.Random(seed).shuffle(events)
push(workspace, features, events, 9)
close(store)
"""


def run_writers(workspace: Workspace, url: str, seeds: list[str]) -> None:
    literals = [str(workspace.dataset.path), str(workspace.home), url]
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PUSH, *literals, seed],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n")
        assert writer.returncode == 0


def test_two_processes_with_the_same_users_end_where_a_replay_ends(
    workspace: Workspace, url: str, redis: Redis, tmp_path: Path
) -> None:
    run_writers(workspace, url, ["5", "6"])
    events = [*random_events(5, 150), *random_events(99, 60)]
    store = open_store(workspace, url)
    assert mismatches(workspace, store, events, tmp_path / "offline") == []
    # and the comparison can fail: a row of one of them that lacks an event of the other
    key = next(key for key in redis.scan_iter("fusion:live:films:user:u1"))
    redis.zrem(key, *redis.zrange(key, 0, 0))
    features, other = open_features(workspace, url)
    epoch = features._live.epoch()
    assert epoch is not None  # so that it does not replay first
    knows_nothing = JournalCounts(features._index)
    features._entities = LiveEntities(
        features.history, features._live, epoch, lambda keys: [], knows_nothing
    )
    late = random_events(7, 5, tag="late")[0]._replace(user_id="u1")
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append([late])
    features.apply(features.history.live_events([late]))
    assert mismatches(workspace, store, [late], tmp_path / "offline again") != []
    close(store)
    close(other)


def test_an_emptied_redis_gets_all_events_of_the_journal_again(
    workspace: Workspace,
    live: tuple[LiveFeatures, FeatureStore],
    redis: Redis,
    tmp_path: Path,
) -> None:
    features, store = live
    events = random_events(8, 90)
    push(workspace, features, events[:80], 20)
    redis.flushall()
    push(workspace, features, events[80:81], 1)  # meets the emptied Redis
    assert mismatches(workspace, store, events[:81], tmp_path / "one") == []
    redis.flushall()
    features.refresh()  # without any event
    assert mismatches(workspace, store, events[:81], tmp_path / "two") == []


def test_a_new_process_applies_what_a_killed_one_had_only_journaled(
    workspace: Workspace, url: str, tmp_path: Path
) -> None:
    events = random_events(9, 80)
    features, store = open_features(workspace, url)
    push(workspace, features, events[:40], 10)
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events[40:])
    close(store)
    features, store = open_features(workspace, url)
    features.replay()
    assert mismatches(workspace, store, events, tmp_path / "offline") == []
    close(store)


def test_removed_or_foreign_members_are_read_again(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore], redis: Redis, tmp_path: Path
) -> None:
    features, store = live
    events = random_events(10, 60)
    push(workspace, features, events[:40], 8)
    for kind in ("user", "item"):  # as after an eviction: the next replay puts them back
        for key in redis.scan_iter(f"fusion:live:films:{kind}:*"):
            redis.zremrangebyrank(key, 0, 0)
    features.replay()
    push(workspace, features, events[40:], 8)
    assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_events_that_cannot_count_have_no_effect(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore], redis: Redis
) -> None:
    features, _ = live
    plain = random_events(11, 1)[0]
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(
            [
                plain._replace(event_id="a", item_id="nowhere"),
                plain._replace(event_id="b", value=None),  # value >= 4 is undecided
                plain._replace(event_id="r0"),  # prepared
            ]
        )
        features.replay()
        assert list(redis.scan_iter("fusion:live:films:*:*")) == []
        journal.append([plain])
    features.replay()
    assert len(list(redis.scan_iter("fusion:live:films:*:*"))) == 2


def test_a_write_that_fails_is_made_good_by_applying_again(
    workspace: Workspace, url: str, tmp_path: Path
) -> None:
    store = open_store(workspace, url)
    online = store._get_provider().online_store
    failing = [True, True]

    def write(view: str, table: pa.Table) -> None:
        if view == "user_recent" and failing:
            failing.pop()
            raise StoreUnavailableError("Redis: got nothing, expected an answer. Start it.")
        OnlineViews(store).write(view, table)

    log = LiveLog(online.transport(store.config.online_store), store.project)
    features = LiveFeatures(
        workspace, log, LiveRows(write, FollowedEncoders([embedder(workspace)]))
    )
    events = random_events(12, 50)
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events)
    live_events = features.history.live_events(events)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            features.apply(live_events)
    features.apply(live_events)
    assert mismatches(workspace, store, events, tmp_path / "offline") == []
    close(store)


def test_prepare_folds_the_events_in_and_serving_goes_on_from_there(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore], redis: Redis, tmp_path: Path
) -> None:
    features, store = live
    events = random_events(13, 120)
    push(workspace, features, events[:60], 20)
    first = write_sources(workspace)
    assert not first.is_unchanged
    assert write_sources(workspace).is_unchanged
    live_ids = {event.event_id for event in events[:60] if event.event_id.startswith("x")}
    folded = pl.read_parquet(workspace.sources / "interactions.parquet")
    assert live_ids <= set(folded["event_id"])
    assert first.rows["interactions"] == 600 + len(live_ids)

    push(workspace, features, events[60:90], 10)  # notices, and comes on top of the new sources
    assert mismatches(workspace, store, events[:90], tmp_path / "one") == []
    assert all(features.history.events.contain(sorted(live_ids)))
    n_kept = redis.zcard("fusion:live:films:user:u1")

    write_sources(workspace)
    push(workspace, features, events[90:], 10)
    assert mismatches(workspace, store, events, tmp_path / "two") == []
    # what two preparations in a row have is kept in Redis no longer
    assert redis.zcard("fusion:live:films:user:u1") < n_kept


def test_a_preparation_with_other_events_renews_the_rows_on_top_of_it(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore], tmp_path: Path
) -> None:
    """The file gained an older event of a user whose newest event is live and not prepared."""
    features, store = live
    newest = T0 + 90 * 24 * HOUR
    event = random_events(14, 1)[0]._replace(user_id="u1", time=newest, event_id="x-newest")
    journal = workspace.events
    push(workspace, features, [event], 1)
    hidden = journal.with_name("hidden")
    journal.rename(hidden)  # prepare runs before the event is there
    path = workspace.dataset.interactions.path
    frame = pl.read_parquet(path)
    row = frame.row(0, named=True) | {"event_id": "new in the file", "user_id": "u1"}
    pl.concat([frame, pl.DataFrame([row], schema=frame.schema)]).write_parquet(path)
    write_sources(workspace)
    hidden.rename(journal)
    features.refresh()
    assert mismatches(workspace, store, [event], tmp_path / "offline") == []


def test_events_screened_before_a_new_preparation_are_screened_again(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore], tmp_path: Path
) -> None:
    """A new item comes before the others by id, so every item has another code since."""
    features, store = live
    events = random_events(15, 30)
    screened = features.history.live_events(events)
    codes = {each.event.item_id: each.occurrence.item for each in screened}
    path = workspace.dataset.items.path
    frame = pl.read_parquet(path)
    row = frame.row(0, named=True) | {"item_id": "a new one"}
    pl.concat([frame, pl.DataFrame([row], schema=frame.schema)]).write_parquet(path)
    write_sources(workspace)
    features.refresh()
    assert all(features.history.items.code(item_id) == code + 1 for item_id, code in codes.items())
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events)
    features.apply(screened)
    assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_the_newest_score_names_the_set_of_events(
    workspace: Workspace, live: tuple[LiveFeatures, FeatureStore]
) -> None:
    _, store = live
    online = store._get_provider().online_store
    log = LiveLog(online.transport(store.config.online_store), "films")
    key = LiveKey("user", "u")
    scores = []
    for members, touch in ([(b"[1]",), False], [(b"[1]",), False], [(b"[2]", b"[3]"), False]):
        _, reads = log.add({key: Addition(members, 0)}, touch=touch)
        scores.append(reads[key].created)
    assert scores[0] == scores[1] < scores[2]
    _, reads = log.add({key: Addition((), scores[0])}, touch=True)
    assert reads[key].created > scores[2]
    assert reads[key].n_events == 3
    assert sorted(filter(None, reads[key].members)) == [b"[2]", b"[3]"]
