"""Interest vectors of an encoder that begins to answer are at the newest event, and stay there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from feast import FeatureStore
from redis import Redis

from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.workspace import Workspace, open_workspace
from serving.live.live_features import LiveFeatures
from tests.candidate import declare, save_tiny
from tests.datasets import START
from tests.serving.live.live_repo import (
    apply_views,
    close,
    differences,
    offline_rows,
    online_rows,
    open_features,
)
from transformations.declared_encoders import identify
from transformations.embedder import Embedder

USERS = ["u1", "u2", "new"]
DAYS_US = 86_400_000_000


@pytest.fixture
def both(workspace: Workspace) -> Workspace:
    """With a candidate encoder."""
    path = workspace.dataset.path
    declare(path, "tiny", save_tiny(path.parent / "tiny"))
    return open_workspace(path, workspace.home)


@pytest.fixture
def candidate(both: Workspace) -> Embedder:
    identity = identify(both.dataset, both.dataset.encoder.candidates["tiny"])
    return Embedder(both, identity.encoder_id)


@pytest.fixture
def live(both: Workspace, server: RunningRedis) -> Iterator[tuple[LiveFeatures, FeatureStore]]:
    with Redis.from_url(server.url) as client:
        client.flushall()
    features, store = open_features(both, connection_string(server.url))
    apply_views(both, store)
    yield features, store
    close(store)


def apply(workspace: Workspace, features: LiveFeatures, tag: str) -> None:
    """Events of each user, newer than all before, into the journal and online."""
    first = int(START.timestamp()) * 1_000_000 + (100 + ord(tag)) * DAYS_US
    events = [
        Event(f"{tag}{at}", user, f"f{ord(tag) % 7 + at}", first + at, 5.0, None, first)
        for at, user in enumerate(USERS)
    ]
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events)
    features.apply(features.history.live_events(events))


def mismatches(
    workspace: Workspace, store: FeatureStore, folder: Path, encoder_id: str
) -> list[str]:
    expected = offline_rows(workspace, folder, encoder=encoder_id)
    found = online_rows(workspace, store, expected, encoder_id)
    return differences(found, expected, keys={*USERS})


def test_it_has_what_came_before_and_what_comes_while_it_answers(
    both: Workspace,
    candidate: Embedder,
    live: tuple[LiveFeatures, FeatureStore],
    tmp_path: Path,
) -> None:
    features, store = live
    main, other = identify(both.dataset).encoder_id, candidate.identity.encoder_id
    apply(both, features, "a")
    with features.interest_of(candidate):
        assert mismatches(both, store, tmp_path / "begun", other) == []
        apply(both, features, "b")
        assert mismatches(both, store, tmp_path / "both", main) == []
        assert mismatches(both, store, tmp_path / "other", other) == []
    apply(both, features, "c")
    assert mismatches(both, store, tmp_path / "main", main) == []
    assert mismatches(both, store, tmp_path / "left", other) != [], "nobody reads it"
    with features.interest_of(candidate), features.interest_of(candidate):  # of two versions
        assert mismatches(both, store, tmp_path / "back", other) == []


def test_the_next_process_does_not_take_it_for_applied(
    both: Workspace,
    candidate: Embedder,
    live: tuple[LiveFeatures, FeatureStore],
    server: RunningRedis,
    tmp_path: Path,
) -> None:
    features, store = live
    apply(both, features, "a")
    features.keep_place({path.name: path.stat().st_size for path in both.events.glob("*.jsonl")})
    follower = LiveFeatures.open(both, store)
    with follower.interest_of(candidate):
        follower.replay()
        other = candidate.identity.encoder_id
        assert mismatches(both, store, tmp_path / "offline", other) == []


def test_it_does_not_begin_without_redis(
    both: Workspace,
    candidate: Embedder,
    live: tuple[LiveFeatures, FeatureStore],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    features, store = live
    apply(both, features, "a")

    def gone(*_: object, **__: object) -> None:
        raise StoreUnavailableError("Redis: got no answer")

    with monkeypatch.context() as patch:
        patch.setattr(features._live, "open", gone)
        with pytest.raises(StoreUnavailableError), features.interest_of(candidate):
            pytest.fail("it has nothing of the events before")
    apply(both, features, "b")
    with features.interest_of(candidate):
        other = candidate.identity.encoder_id
        assert mismatches(both, store, tmp_path / "offline", other) == []
