"""What Redis lost of live events is put there again: sets of single keys, or all since a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from feast import FeatureStore

from feast_fusion.online.redis.transport import ReadGroup
from feast_fusion.redis_matrix import online_store_of
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.workspace import Workspace
from serving.live import live_entities
from serving.live.live_features import LiveFeatures
from tests.feast_fusion.online.redis_faults import RedisProcess, redis_process
from tests.serving.live.live_repo import close, open_features
from tests.serving.live.test_live_features import mismatches, push, random_events
from transformations.prepared_sources import write_sources


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis"), "maxmemory-policy allkeys-lru") as server:
        yield server


def unprepared(seed: int, n: int) -> list[Event]:
    """Random events without those that are prepared already."""
    return [event for event in random_events(seed, n) if event.event_id[0] != "r"]


def test_each_process_makes_an_older_state_good_once(
    workspace: Workspace,
    forgetful: RedisProcess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = random_events(21, 90)
    writers = [open_features(workspace, f"{forgetful.address},db=0") for _ in range(2)]
    (one, store), (other, _) = writers
    push(workspace, one, events[:30], 10)
    with forgetful.client() as client:
        client.save()
    push(workspace, one, events[30:60], 10)
    write_sources(workspace)  # these events are part of the history now
    one.refresh()
    push(workspace, other, events[60:], 10)
    forgetful.stop()
    forgetful.start()
    expected = tmp_path / "offline"
    assert mismatches(workspace, store, events, expected) != []  # it is the older state
    with caplog.at_level(logging.WARNING, "serving.live"):
        caplog.clear()
        for features in (one, other, one, other):
            features.refresh()
    said = [record.message for record in caplog.records]
    assert sum("started again" in each for each in said) == 2
    assert sum("allkeys-lru" in each for each in said) == 2
    assert mismatches(workspace, store, events, tmp_path / "again") == []
    for _, opened in writers:
        close(opened)


def test_a_process_that_starts_after_the_loss_notices_it(
    workspace: Workspace, forgetful: RedisProcess, tmp_path: Path
) -> None:
    events = random_events(23, 60)
    with forgetful.client() as client:
        client.flushall()
        client.save()
    features, store = open_features(workspace, f"{forgetful.address},db=0")
    push(workspace, features, events, 20)
    close(store)
    write_sources(workspace)  # what a replay applies is nothing any more
    forgetful.stop()
    forgetful.start()
    features, store = open_features(workspace, f"{forgetful.address},db=0")
    features.replay()
    assert mismatches(workspace, store, events, tmp_path / "offline") == []
    close(store)


def test_sets_that_were_evicted_are_put_there_again_before_a_row_is_made_of_the_rest(
    workspace: Workspace,
    forgetful: RedisProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_entities, "_MAX_ENTITIES", 10)  # of some no state is in memory
    events = random_events(22, 90)
    with forgetful.client() as client:
        client.flushall()
        features, store = open_features(workspace, f"{forgetful.address},db=0")
        push(workspace, features, events[:60], 10)
    evict_sets(forgetful)
    push(workspace, features, events[60:], 10)
    touched = [event for event in events[60:] if event.event_id[0] != "r"]
    assert mismatches(workspace, store, touched, tmp_path / "offline") == []
    close(store)


def test_a_process_that_never_read_a_key_knows_what_another_one_put_there(
    workspace: Workspace, forgetful: RedisProcess, tmp_path: Path
) -> None:
    events = unprepared(24, 80)
    with forgetful.client() as client:
        client.flushall()
        one, store = open_features(workspace, f"{forgetful.address},db=0")
        other, opened = open_features(workspace, f"{forgetful.address},db=0")
        other.refresh()
        with Journal(workspace.events, EVENT_FORMAT) as journal:  # it has not indexed it
            journal.append(events[:60])
            one.apply(one.history.live_events(events[:60]))
            late, store_of_late = open_features(workspace, f"{forgetful.address},db=0")
            late.refresh()
            evict_sets(forgetful)
            push(workspace, other, events[60:70], 3)
            evict_sets(forgetful)
            push(workspace, late, events[70:], 3)
            touched = events[60:]
            assert mismatches(workspace, store, touched, tmp_path / "offline") == []
    for each in (store, opened, store_of_late):
        close(each)


@contextmanager
def applied(
    workspace: Workspace, server: RedisProcess, events: list[Event]
) -> Iterator[tuple[LiveFeatures, FeatureStore, Journal]]:
    """Features that have applied the events and kept the place; their journal is written to."""
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        with server.client() as client:
            client.flushall()
        features, store = open_features(workspace, f"{server.address},db=0")
        journal.append(events)
        features.note_own(journal.ends)
        features.apply(features.history.live_events(events))
        features.keep_place(journal.ends)
        yield features, store, journal
        close(store)


def evict_sets(server: RedisProcess) -> None:
    with server.client() as client:
        assert client.delete(*client.scan_iter("fusion:live:films:*:*"))


def test_a_process_knows_after_a_replay_what_it_had_journaled_before(
    workspace: Workspace, forgetful: RedisProcess, tmp_path: Path
) -> None:
    events = unprepared(25, 40)
    with applied(workspace, forgetful, events[:30]) as (features, store, journal):
        features.replay()  # as after a restart of Redis: what is before the place is left out
        evict_sets(forgetful)
        for event in events[30:]:
            journal.append([event])
            features.apply(features.history.live_events([event]))
        assert mismatches(workspace, store, events[30:], tmp_path / "offline") == []


def test_a_replay_itself_knows_what_was_applied_before_and_is_not_indexed(
    workspace: Workspace, forgetful: RedisProcess, tmp_path: Path
) -> None:
    events = unprepared(27, 50)
    with applied(workspace, forgetful, events[:30]) as (features, store, journal):
        evict_sets(forgetful)
        journal.append(events[30:])
        features.replay()  # applies the last ones, of keys whose first ones are gone
        assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_a_place_is_not_kept_in_an_older_state(
    workspace: Workspace, forgetful: RedisProcess, tmp_path: Path
) -> None:
    events = unprepared(26, 60)
    with applied(workspace, forgetful, events[:20]) as (features, store, journal):
        with forgetful.client() as client:
            client.save()
        journal.append(events[20:])
        features.apply(features.history.live_events(events[20:]))
        forgetful.stop()
        forgetful.start()
        features.keep_place(journal.ends)  # before anybody has noticed
        features.refresh()
        assert mismatches(workspace, store, events, tmp_path / "offline") == []


def test_rows_may_be_older_from_the_first_read_of_a_restarted_server_until_all_is_made_good(
    workspace: Workspace, forgetful: RedisProcess
) -> None:
    features, store = open_features(workspace, f"{forgetful.address},db=0")
    assert features.may_be_older
    features.replay()
    assert not features.may_be_older
    transport = online_store_of(store).transport(store.config.online_store)
    asked = [ReadGroup([b"any"], [b"field"])]
    transport.read(asked)
    with forgetful.client() as client:
        client.save()
    forgetful.stop()
    forgetful.start()
    transport.read(asked)  # by a new connection, of which nothing is known yet
    assert features.may_be_older
    push(workspace, features, random_events(29, 10), 10)
    assert not features.may_be_older
    close(store)


def test_a_preparation_is_taken_up_after_answers_are_made_from_it(
    workspace: Workspace, forgetful: RedisProcess
) -> None:
    features, store = open_features(workspace, f"{forgetful.address},db=0")
    answered = [workspace.read_stamp()]
    features.follow(lambda: answered[-1])
    events = unprepared(31, 60)
    push(workspace, features, events, 20)
    had = features.acted_on(events[0].user_id)
    assert had
    write_sources(workspace)
    features.refresh()
    assert features.acted_on(events[0].user_id) == had
    answered.append(workspace.read_stamp())
    features.refresh()
    assert features.acted_on(events[0].user_id) == set()
    close(store)
