"""Redis loses something, or the disk is full: noticed, said, and made good from the journal."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from feast import FeatureStore

from cli.feast_repository import open_store
from intake.journal_content import read_journal
from serving.answers import STORE_INCOMPLETE
from serving.full_refresh import rewrite_online
from serving.http.app import create_app
from serving.http.library import open_library
from serving.http.requests import MAX_WAIT_MS
from serving.http.settings import ServiceSettings
from serving.live.event_intake import EventIntake
from tests.conftest import Project
from tests.feast_fusion.online.redis_faults import RedisProcess, redis_process
from tests.intake.test_journal import largest_file
from tests.serving.http.service_process import Answer, Service, copy_project, serving_here
from tests.waiting import wait_until

ITEMS = [f"f{i}" for i in range(30)]


@dataclass
class Bench:
    """A service in this process, whose Redis has what a test leaves there."""

    project: Project
    server: RedisProcess
    store: FeatureStore
    intake: EventIntake
    service: Service
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def post(self, user_id: str, n: int = 1, wait_ms: int = MAX_WAIT_MS) -> Answer:
        """Events of the user with n items, each after the other."""
        events = [
            {
                "event_id": f"lost-{at}",
                "user_id": user_id,
                "item_id": f"f{at % 30}",
                "event_timestamp": datetime.now(UTC).isoformat(),
                "value": 4.0,
            }
            for at, _ in zip(self.numbers, range(n), strict=False)
        ]
        return self.service.post("/events", {"events": events, "wait_ms": wait_ms})

    def apply(self, user_id: str, n: int = 1) -> None:
        """The same, and what follows from them."""
        assert self.post(user_id, n).status == 200
        wait_until(lambda: self.intake.n_pending == 0)

    def n_events(self, user_id: str) -> int:
        """What the online store says that the user has done."""
        read = self.store.get_online_features(
            features=["user_stats:user_n_events"], entity_rows=[{"user_id": user_id}]
        )
        return int(read.to_dict()["user_n_events"][0] or 0)

    def reasons(self, user_id: str) -> list[str]:
        """What an answer to the user lacks."""
        asked = {"user_id": user_id, "item_ids": ITEMS}
        return list(self.service.post("/rank", asked).json()["reasons"])

    def is_ready(self) -> bool:
        return self.service.get("/health/ready").status == 200

    def forget(self, *patterns: str) -> None:
        """As Redis does when its memory is full."""
        with self.server.client() as client:
            for pattern in patterns:
                assert client.delete(*client.scan_iter(pattern))


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("lost")
    project = copy_project(films, folder / "home")
    with redis_process(folder / "redis") as server:
        store = open_store(project.workspace, f"{server.address},db=0")
        rewrite_online(store, datetime.now(UTC))
        # as few threads as there are, so that one that waits would be missed
        settings = ServiceSettings(event_threads=2, event_deadline_ms=1_000)
        with (
            open_library(project.workspace, store) as library,
            serving_here(create_app(*library, settings)) as service,
        ):
            yield Bench(project, server, store, library[1], service)


@pytest.fixture(autouse=True)
def whole(bench: Bench) -> None:
    wait_until(bench.is_ready)


def test_an_older_state_of_redis_is_flagged_and_made_good_from_the_journal(bench: Bench) -> None:
    before = bench.n_events("u1")
    with bench.server.client() as client:
        client.save()
    bench.apply("u1", 6)
    assert bench.n_events("u1") == before + 6
    assert bench.reasons("u1") == []
    with bench.intake._features._lock:  # nothing is made good yet
        bench.server.stop()
        bench.server.start()
        assert bench.n_events("u1") == before  # it is the older state
        wait_until(lambda: bench.reasons("u1") == [STORE_INCOMPLETE])
        assert bench.reasons("u3") == [STORE_INCOMPLETE]  # what of others was lost is not known
        assert "older rows" in bench.service.get("/health/ready").detail
        assert bench.service.metric("fusion_features_lost") == 1
    wait_until(bench.is_ready)
    wait_until(lambda: bench.n_events("u1") == before + 6)
    wait_until(lambda: bench.reasons("u1") == [])


def test_events_that_redis_forgot_are_in_the_next_row(bench: Bench) -> None:
    before = bench.n_events("u2")
    bench.apply("u2", 5)
    bench.forget("fusion:live:*:user:u2")
    bench.apply("u2")
    assert bench.n_events("u2") == before + 6


def test_rows_that_redis_forgot_are_flagged_and_seen_by_readiness(bench: Bench) -> None:
    users = [f"u{i}" for i in range(3, 15)]
    before = {user: bench.n_events(user) for user in users}
    assert all(bench.reasons(user) == [] for user in users)
    bench.forget(*(f"*user_id*{user}*films" for user in users))
    assert [bench.reasons(user) for user in users] == [[STORE_INCOMPLETE]] * len(users)
    wait_until(lambda: "refresh full" in _detail(bench.service.get("/health/ready")))
    # what follows from events is there again, what was not made here is still missed
    wait_until(lambda: before == {user: bench.n_events(user) for user in users})
    assert bench.reasons(users[0]) == [STORE_INCOMPLETE]
    rewrite_online(bench.store, datetime.now(UTC))
    wait_until(bench.is_ready)
    assert all(bench.reasons(user) == [] for user in users)


def test_what_is_on_disk_is_accepted_however_long_redis_takes(bench: Bench) -> None:
    bench.server.pause()
    try:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda n: bench.post(f"u{n}", wait_ms=1_500), range(24)))
    finally:
        bench.server.resume()
    assert [answer.status for answer in answers] == [200] * 24
    said = [answer.json() for answer in answers]
    assert not any(each["applied"] for each in said)
    accepted = {one["event_id"] for each in said for one in each["outcomes"]}
    assert accepted <= {*read_journal(bench.project.workspace.events)["event_id"].to_pylist()}
    wait_until(lambda: bench.intake.n_pending == 0)


def test_a_full_disk_is_said_everywhere_and_room_is_found_again(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[Any] = []
    with largest_file(10), caplog.at_level(logging.WARNING, "intake.journal"):
        said += [bench.post("u1").status for _ in range(20)]
        assert "journal" in bench.service.get("/health/ready").detail
        assert bench.service.metric("fusion_journal_failing") == 1
        assert len(caplog.records) == 1, caplog.text
    assert said == [503] * 20
    wait_until(bench.is_ready)  # though nobody sends an event
    assert bench.service.metric("fusion_journal_failing") == 0
    bench.apply("u1")


def _detail(answer: Answer) -> str:
    return answer.detail if answer.status == 503 else ""
