"""The log of served features: what is in it, what it never does; and its audit, end to end."""

import json
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.online.read_plan import feature_field
from feast_fusion.redis_matrix import online_store_of
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.workspace import Workspace
from serving.live.event_intake import EventIntake
from serving.live.live_features import LiveFeatures
from serving.online_features import OnlineFeatures
from serving.served_log import ReadServed, ServedLog
from serving.served_table import served_table, stamped_table
from serving.slate import Slates
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from tests.trained import served
from tests.waiting import wait_until
from training.audit.served_rows import read_served
from transformations.embedder import Embedder
from transformations.names import SERVICE

# A busy machine may keep a healthy Redis silent for longer than the defaults allow.
PATIENT = {"connect_timeout_ms": 5_000, "read_timeout_ms": 5_000, "deadline_ms": 20_000}

START = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = "user_stats__event_timestamp"
COLUMNS = ["user_id", "item_id", "event_timestamp", "user_stats__n", "vector", "tags", STAMP]


def rows_of(request: int, n: int = 3) -> TrainingSet:
    """The rows of one request: all that is in them tells which."""
    return TrainingSet(
        pa.table(
            {
                "user_id": [f"u{request}"] * n,
                "item_id": [f"i{at}" for at in range(n)],
                "event_timestamp": pa.array([START + timedelta(seconds=request)] * n, TIMESTAMP),
                "user_stats__n": pa.array([request] * n, pa.int64()),
            }
        ),
        {
            "vector": Indexed(
                np.full((1, 2), request, np.float32), np.array([0, -1, 0] * n, np.int32)[:n]
            )
        },
        {"tags": Indexed(pa.array([["a", None]]), np.array([-1, 0, 0] * n, np.int32)[:n])},
    )


def served_of(request: int, n: int = 3, n_stamps: int = 3) -> ReadServed:
    """Reads the first `n` rows of one request, of whose stamps the second is absent."""
    second = np.timedelta64(request, "s")
    times = np.full(n_stamps, np.datetime64("2024-01-01T00:00:00", "us") + second)
    times[1] = np.datetime64("NaT")
    return lambda: stamped_table(rows_of(request, n), {"user_stats": times[:n]})


def logged(folder: Path) -> list[dict[str, object]]:
    return list(read_served(folder, COLUMNS).table.to_pylist())


def test_a_request_is_logged_as_it_was_served_and_nothing_else(tmp_path: Path) -> None:
    with ServedLog(tmp_path / "served", 1.0) as log:
        assert log.offer("request-1", served_of(7, n=2))
    (path,) = (tmp_path / "served").iterdir()
    when = START + timedelta(seconds=7)
    common = {"user_id": "u7", "event_timestamp": when, "user_stats__n": 7}
    assert pq.read_table(path).to_pylist() == [
        {**common, "item_id": "i0", "vector": [7.0, 7.0], "tags": None, STAMP: when},
        {**common, "item_id": "i1", "vector": None, "tags": ["a", None], STAMP: None},
    ]
    assert (log.n_logged, log.n_dropped, log.n_failed) == (1, 0, 0)


def test_the_hash_of_the_request_decides_what_is_sampled(tmp_path: Path) -> None:
    ids = [f"request-{number}" for number in range(400)]
    taken = []
    for name in ("a", "b"):
        with ServedLog(tmp_path / name, 0.25) as log:
            taken.append([log.offer(each, served_of(1)) for each in ids])
    assert taken[0] == taken[1]
    assert 60 < sum(taken[0]) < 140
    with ServedLog(tmp_path / "none", 0.0) as log:
        assert not any(log.offer(each, served_of(1)) for each in ids)
    assert not (tmp_path / "none").exists()
    with pytest.raises(SchemaError, match=r"got 1\.5, expected"):
        ServedLog(tmp_path, 1.5)


def test_what_does_not_fit_is_dropped_and_counted(tmp_path: Path) -> None:
    with ServedLog(tmp_path, 1.0, max_pending=2, file_rows=1) as log:
        taken = [log.offer(str(number), served_of(1)) for number in range(500)]
    assert log.n_dropped == taken.count(False) > 0
    assert log.n_logged == taken.count(True) > 0
    assert len(logged(tmp_path)) == 3 * log.n_logged
    assert not log.offer("late", served_of(1))
    assert log.n_dropped == taken.count(False) + 1


def test_concurrent_offers_are_each_logged_once(tmp_path: Path) -> None:
    with ServedLog(tmp_path, 1.0, file_rows=60) as log:

        def offer(first: int) -> None:
            for request in range(first, 200, 8):
                assert log.offer(str(request), served_of(request))

        threads = [threading.Thread(target=offer, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = logged(tmp_path)
    assert [row["user_stats__n"] for row in found] == np.repeat(range(200), 3).tolist()
    assert log.n_logged == 200
    assert len(list(tmp_path.iterdir())) == 10


def test_a_file_is_written_when_its_first_row_is_old_enough(tmp_path: Path) -> None:
    with ServedLog(tmp_path, 1.0, file_s=0.05) as log:
        log.offer("1", served_of(1))
        wait_until(lambda: list(tmp_path.glob("served-*")), "a file")
        assert len(logged(tmp_path)) == 3


@pytest.fixture
def no_folder(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.write_text("a file where the folder should be")
    return path


def test_a_disk_that_fails_fails_no_request(
    no_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ServedLog(no_folder, 1.0, file_rows=3) as log:
        assert all(log.offer(str(number), served_of(1)) for number in range(4))
    assert (log.n_logged, log.n_failed) == (0, 4)
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in errors] == [
        "Served features were not logged; requests go on"
    ]


def test_rows_that_cannot_be_read_are_counted_and_the_next_are_logged(tmp_path: Path) -> None:
    with ServedLog(tmp_path, 1.0) as log:
        log.offer("1", served_of(1, n_stamps=2))
        log.offer("2", served_of(2))
    assert (log.n_logged, log.n_failed) == (1, 1)
    assert {row["user_id"] for row in logged(tmp_path)} == {"u2"}


def test_after_a_kill_earlier_files_are_whole_and_the_rest_is_no_file(tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from feast_fusion.feast_command import import_lightly
        import_lightly()
        from serving.served_log import ServedLog
        from tests.serving.test_served_log import served_of
        log = ServedLog(Path({str(tmp_path)!r}), 1.0, file_rows=30, max_pending=100_000)
        for request in range(1_000_000):
            log.offer(str(request), served_of(request))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as writer:
        try:
            wait_until(lambda: len(list(tmp_path.glob("served-*"))) >= 4, "four files")
            assert writer.poll() is None
        finally:
            writer.send_signal(signal.SIGKILL)
    found = [row["user_stats__n"] for row in logged(tmp_path)]
    assert len(found) >= 120
    assert found == np.repeat(range(len(found) // 3), 3).tolist()


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    with ServedLog(tmp_path / "probe", 1.0) as log:
        log.offer("1", served_of(1))
    (probe,) = (tmp_path / "probe").iterdir()
    folder, size = tmp_path / "served", probe.stat().st_size
    with ServedLog(folder, 1.0, file_rows=1, max_bytes=3 * size + size // 2) as log:
        for request in range(9):
            log.offer(str(request), served_of(request))
    assert {row["user_id"] for row in logged(folder)} == {"u6", "u7", "u8"}


# --- end to end: a service with live events on a real Redis, then the command


USERS = [f"u{number}" for number in range(19)] + ["newcomer"]


@dataclass(frozen=True)
class Serving:
    """Slates of the films, live events between them, and the log of what was served."""

    workspace: Workspace
    store: FeatureStore
    slates: Slates
    intake: EventIntake
    log: ServedLog

    def serve(self, request: int, user_id: str) -> None:
        items = [f"f{(request * 7 + 3 * at) % 84}" for at in range(10)]  # four do not exist
        slate = self.slates.read(user_id, items, datetime.now(UTC))
        at = np.arange(10)[::-1]
        assert self.log.offer(f"r{request}", partial(served_table, slate, at, "v1", np.ones(10)))

    def rate(self, number: int, user_id: str, *, wait: bool) -> None:
        late = timedelta(hours=2) if number % 5 == 4 else timedelta(0)
        event = {
            "event_id": f"live{number}",
            "user_id": user_id,
            "item_id": f"f{number * 11 % 80}",
            "value": float(1 + number % 5),
            "event_timestamp": datetime.now(UTC) - late,
        }
        submission = self.intake.submit([event], apply_timeout_s=30.0 if wait else 0.0)
        assert submission.outcomes[0].status == "accepted", submission

    def corrupt(self, user_id: str) -> None:
        """Another count in the row of a user."""
        online, config = online_store_of(self.store), self.store.config
        service = self.store.get_feature_service(SERVICE)
        plan = online.read_plan(config, self.store.registry, service, full_feature_names=True)
        group = next(group for group in plan.groups if group.requested == ("user_id",))
        (key,) = encode_keys(group.join_keys, [[user_id]], group.types, config.project)
        value = Value(int64_val=987_654).SerializeToString()
        field = feature_field("user_stats", "user_n_events")
        online.transport(config.online_store).write([("HSET", key, field, value)])


@contextmanager
def serving(workspace: Workspace) -> Iterator[Serving]:
    with embedded_redis(workspace.redis) as redis:
        store = open_store(workspace, connection_string(redis.url))
        store.config._online_store = store.config.online_store.model_copy(update=PATIENT)
        try:
            features = OnlineFeatures(store, SERVICE)
            slates = Slates(features, served(workspace).features)
            live = LiveFeatures.open(workspace, store, [Embedder(workspace, features.encoder_id)])
            with (
                EventIntake(Journal(workspace.events, EVENT_FORMAT), live) as intake,
                ServedLog(workspace.served, 1.0) as log,
            ):
                yield Serving(workspace, store, slates, intake, log)
            assert (log.n_dropped, log.n_failed) == (0, 0)
        finally:
            online_store_of(store).disconnect()


@pytest.fixture(scope="module")
def project(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("skew") / "home")


def audit_here(workspace: Workspace, *options: str) -> str:
    """What `feast-fusion audit OPTIONS` says; it must find something wrong."""
    done = Project(workspace).here("audit", *options, fails=True)
    return done.stdout + done.stderr


def test_without_a_log_there_is_nothing_to_audit(project: Project) -> None:
    said = audit_here(project.workspace, "skew", "--no-fold")
    assert "got no rows that feature service 'fusion_ranker_v1' served" in said


def test_the_audit_finds_what_was_corrupted_and_nothing_before(project: Project) -> None:
    workspace = project.workspace
    with serving(workspace) as service:
        for request in range(200):
            user = USERS[request % 20]
            service.serve(request, user)
            service.rate(request, user, wait=request % 3 > 0)
            service.serve(1000 + request, user)
    found = json.loads(project.here("audit", "skew", "--json").stdout.splitlines()[-1])
    assert (found["n_rows"], found["n_other"], found["mismatches"]) == (4_000, 0, 0)
    by_name = {f["feature"]: f for view in found["views"] for f in view["features"]}
    assert by_name["user_stats__user_n_events"]["equal"] > 3_900
    assert by_name["user_interest"]["min_cosine"] > 0.99999

    with serving(workspace) as service:
        service.corrupt("u3")
        service.serve(5000, "u3")
        service.serve(5001, "u4")
    said = audit_here(workspace, "skew", "--no-fold")
    assert said.startswith("Skew audit: 10 mismatches in 4,020 served rows")
    examples = [line for line in said.splitlines() if line.startswith("different: ")]
    assert len(examples) == 5
    assert all("user_stats__user_n_events of user u3" in line for line in examples)
    assert all("served 987654" in line for line in examples)
