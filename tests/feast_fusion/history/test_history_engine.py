"""The engine as a plug-in of Feast repositories that are not ours, run by the real commands."""

import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import feast
import pandas as pd
import polars as pl
import pytest
from feast.feature_view import FeatureViewState
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.compute import LocalComputeEngine
from feast.infra.online_stores.online_store import OnlineStore
from feast.repo_config import get_batch_engine_config_from_type
from feast.utils import _convert_arrow_to_proto

from feast_fusion.errors import MissingExtraError
from feast_fusion.history.runner import RayRunnerConfig, open_runner
from feast_fusion.history_engine import HistoryEngine, HistoryEngineConfig
from tests.feast_fusion.feast_repo import (
    DAY_0,
    FEAST,
    FeastRepo,
    day,
    make_repo,
    page,
    redis_store,
)
from tests.feast_fusion.online.redis_faults import open_redis

SUCCEEDED = DAY_0 + timedelta(days=0.9)

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")


def identities(rows: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(rows.select("page_id", "event_timestamp").rows())


@dataclass(frozen=True)
class Step:
    """What one command left behind."""

    transformed: list[str]
    stored: pl.DataFrame
    online: list[float | None]
    watermark: datetime | None
    output: str


def _step(repo: FeastRepo, output: str) -> Step:
    online = repo.online([f"p{i}" for i in range(9)])
    return Step(repo.transformed(), repo.stored(), online, repo.watermark(), output)


# --- the life of a view: redis and duckdb -------------------------------------------------------


@dataclass(frozen=True)
class Life:
    repo: FeastRepo
    steps: dict[str, Step]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("life")
    with open_redis(folder / "redis") as server:
        repo = make_repo(folder / "repo", online_store=redis_store(server))
        rows = [page(f"p{i % 7}", i, i) for i in range(35)]
        repo.write_pages(rows)
        steps = {}

        def step(name: str, *command: str) -> None:
            run = repo.here if steps.keys() >= {"applied", "first"} else repo.command
            done = run(*command)
            steps[name] = _step(repo, done.stdout + done.stderr)

        step("applied", "apply")
        step("first", "materialize", day(0), day(20))
        step("again", "materialize", day(0), day(20))
        step("incremental", "materialize-incremental", day(40))
        step("nothing new", "materialize-incremental", day(44))
        late = [page("p1", 2.5, 100), page("p2", 36, 101)]
        repo.write_pages([late[0], *rows, late[1]])
        step("late", "materialize", day(0), day(41))
        yield Life(repo, steps)


def test_apply_creates_an_empty_sink_with_the_declared_schema(life: Life) -> None:
    stored = life.steps["applied"].stored
    assert stored.height == 0
    assert life.steps["applied"].transformed == []
    times = pl.Datetime("us", "UTC")
    assert dict(stored.schema) == {
        "page_id": pl.String(),
        "emb": pl.List(pl.Float32()),
        "label": pl.String(),
        "event_timestamp": times,
        "created": times,
    }


def test_materialize_keeps_every_version_and_serves_the_newest(life: Life) -> None:
    first = life.steps["first"]
    assert first.stored.height == 21  # both ends of the window are in it
    assert first.transformed == [f"text-{i}" for i in range(21)]
    numbers = first.stored["emb"].list.first()
    assert numbers.to_list() == list(range(21))
    assert first.online == [14, 15, 16, 17, 18, 19, 20, None, None]
    assert first.watermark == DAY_0 + timedelta(days=20)
    assert "page_vector history" in first.output and "page_vector online" in first.output


def test_an_integer_beside_a_null_stays_an_integer(life: Life) -> None:
    labels = life.steps["first"].stored["label"].to_list()
    assert labels[:5] == ["None", "1991", "1992", "None", "1994"]


def test_running_again_adds_nothing_and_transforms_nothing(life: Life) -> None:
    again = life.steps["again"]
    assert again.transformed == []
    assert again.stored.equals(life.steps["first"].stored)
    assert again.online == life.steps["first"].online


def test_incremental_takes_only_what_came_after(life: Life) -> None:
    incremental = life.steps["incremental"]
    assert incremental.transformed == [f"text-{i}" for i in range(21, 35)]
    assert incremental.stored.height == 35
    assert incremental.online == [28, 29, 30, 31, 32, 33, 34, None, None]


def test_an_incremental_run_with_nothing_new_says_nothing_of_it(life: Life) -> None:
    step = life.steps["nothing new"]
    assert step.watermark == DAY_0 + timedelta(days=44) and step.transformed == []
    assert "is in the window" not in step.output


def test_an_overlapping_window_adds_only_late_rows(life: Life) -> None:
    late = life.steps["late"]
    assert late.transformed == ["text-100", "text-101"]
    assert late.stored.height == 37
    assert len(set(identities(late.stored))) == 37
    assert late.online == [
        28,
        29,
        101,
        31,
        32,
        33,
        34,
        None,
        None,
    ]  # p1's late row is not its newest


def test_no_temporary_file_stays(life: Life) -> None:
    assert [path.name for path in life.repo.sink.iterdir() if path.suffix != ".parquet"] == []


@pytest.mark.filterwarnings("ignore:Downcasting object dtype arrays:FutureWarning")  # in feast
@pytest.mark.parametrize("offline_store", ["duckdb", "file"])
def test_stock_offline_stores_read_the_history(
    life: Life, tmp_path: Path, offline_store: str
) -> None:
    config = (life.repo.folder / "feature_store.yaml").read_text()
    (tmp_path / "feature_store.yaml").write_text(
        config.replace("{type: duckdb}", f"{{type: {offline_store}}}")
    )
    (life.repo.sink / ".part-left-by-a-crash.tmp").write_bytes(b"half a file")
    labels = pd.DataFrame(
        {
            "page_id": ["p1", "p1", "p1", "p2"],
            "event_timestamp": [DAY_0 + timedelta(days=d) for d in (2, 3, 30, 40)],
        }
    )
    store = feast.FeatureStore(repo_path=str(tmp_path))
    found = store.get_historical_features(labels, ["page_vector:emb"]).to_df()
    found = found.sort_values("event_timestamp")
    assert [vector[0] for vector in found["emb"]] == [1, 100, 29, 101]


# --- failures: redis and file -------------------------------------------------------------------


@dataclass(frozen=True)
class Failures:
    repo: FeastRepo
    raised: Step
    raised_state: FeatureViewState
    killed: Step
    killed_state: FeatureViewState


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failures]:
    """100 rows in 10 batches: the first succeeds, the fifth raises, the eighth is killed."""
    folder = tmp_path_factory.mktemp("failures")
    with open_redis(folder / "redis") as server:
        repo = make_repo(folder / "repo", online_store=redis_store(server), offline_store="file")
        repo.write_pages([page(f"p{i % 9}", i / 10, i) for i in range(100)])
        repo.store_apply()
        repo.store.materialize(DAY_0, SUCCEEDED)
        window = ("materialize", day(0), day(20))
        done = repo.here(*window, fails=True, UDF_RAISE_ON="text-45")
        raised, raised_state = _step(repo, done.stdout + done.stderr), _state(repo)
        _kill_in_batch_of(repo, "text-75", window)
        killed, killed_state = _step(repo, ""), _state(repo)
        (repo.sink / ".part-0a.tmp").write_bytes(b"what a kill in the middle of a write leaves")
        repo.here(*window)
        yield Failures(repo, raised, raised_state, killed, killed_state)


def _state(repo: FeastRepo) -> FeatureViewState:
    return FeatureViewState(repo.store.get_feature_view("page_vector").state)


def _start(repo: FeastRepo, command: tuple[str, ...], **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FEAST, *command],
        cwd=repo.folder,
        env=repo.environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _start_until(
    repo: FeastRepo, text: str, command: tuple[str, ...]
) -> tuple[subprocess.Popen[str], int]:
    """`command`, waiting in the transformation of `text` until the descriptor is closed."""
    fifo = repo.folder / "fifo"
    os.mkfifo(fifo)
    running = _start(repo, command, UDF_WAIT_ON=text, UDF_FIFO=str(fifo))
    return running, os.open(fifo, os.O_WRONLY)


def _kill_in_batch_of(repo: FeastRepo, text: str, command: tuple[str, ...]) -> None:
    running, held = _start_until(repo, text, command)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    os.close(held)
    assert running.returncode == -signal.SIGKILL


def test_a_transformation_that_raises_fails_the_command_and_keeps_finished_batches(
    failures: Failures,
) -> None:
    raised = failures.raised
    assert "ValueError: the model refused a text" in raised.output
    assert "Raised by the transformation of feature view 'page_vector' on 10 rows" in raised.output
    assert raised.stored["emb"].list.first().to_list() == list(range(40))
    assert raised.transformed == [f"text-{i}" for i in range(10, 50)]
    assert raised.watermark == SUCCEEDED
    assert raised.online == [9, *range(1, 9)]  # not before the history of the window is whole
    assert failures.raised_state == FeatureViewState.AVAILABLE_ONLINE


def test_kill_9_keeps_finished_batches_and_the_watermark(failures: Failures) -> None:
    killed = failures.killed
    assert killed.stored["emb"].list.first().to_list() == list(range(70))
    assert killed.transformed == [f"text-{i}" for i in range(40, 80)]
    assert killed.watermark == SUCCEEDED
    assert failures.killed_state == FeatureViewState.MATERIALIZING  # the next run recovers from it


def test_the_run_after_a_kill_completes_with_no_row_doubled_or_lost(failures: Failures) -> None:
    completed = _step(failures.repo, "")
    assert completed.stored["emb"].list.first().to_list() == list(range(100))
    assert completed.transformed == [f"text-{i}" for i in range(70, 100)]
    assert completed.watermark == DAY_0 + timedelta(days=20)
    assert completed.online == [99, *range(91, 99)]
    assert _state(failures.repo) == FeatureViewState.AVAILABLE_ONLINE
    assert not list(failures.repo.sink.glob(".*"))


def test_a_stopped_redis_fails_the_command_after_the_history_is_kept(tmp_path: Path) -> None:
    with open_redis(tmp_path / "redis") as server:
        repo = make_repo(tmp_path / "repo", online_store=redis_store(server))
    repo.write_pages([page("p1", 1, 1), page("p1", 2, 2)])
    repo.store_apply()
    done = repo.here("materialize", day(0), day(9), fails=True)
    assert f"connecting to {server.host}:{server.port}" in done.stderr
    assert repo.stored().height == 2
    assert repo.watermark() is None


def test_two_runs_of_one_view_at_once_take_turns(tmp_path: Path) -> None:
    repo = make_repo(tmp_path, online_store=f"{{type: sqlite, path: {tmp_path}/online.db}}")
    repo.write_pages([page(f"p{i}", i, i) for i in range(25)])
    repo.store_apply()
    window = ("materialize", day(0), day(30))
    first, held = _start_until(repo, "text-15", window)
    second = _start(repo, window)
    assert second.stderr is not None
    assert any("waiting for another process" in line for line in second.stderr)
    assert repo.stored().height == 10
    os.close(held)
    assert [first.wait(), second.wait()] == [0, 0]
    for run in (first, second):
        run.communicate()
    assert repo.stored()["emb"].list.first().to_list() == list(range(25))
    assert repo.transformed() == [f"text-{i}" for i in range(25)]


# --- what we build on ---------------------------------------------------------------------------


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_the_parts_of_feast_that_the_engine_builds_on_are_where_they_were() -> None:
    assert feast.__version__ == "0.67.0", "review feast_fusion against this version of Feast"
    assert parameters(ComputeEngine._materialize_one) == ["self", "registry", "task", "kwargs"]
    assert parameters(LocalComputeEngine.update) == parameters(HistoryEngine.update)
    assert parameters(LocalComputeEngine.__init__) == ["self", "backend", "kwargs"]
    assert parameters(ComputeEngine.__init__)[1:] == [
        "repo_config",
        "offline_store",
        "online_store",
        "kwargs",
    ]
    assert parameters(_convert_arrow_to_proto) == ["table", "feature_view", "join_keys"]
    assert parameters(OnlineStore.online_write_batch) == [
        "self",
        "config",
        "table",
        "data",
        "progress",
    ]


def test_feast_finds_the_config_class() -> None:
    name = "feast_fusion.history_engine.HistoryEngine"
    assert get_batch_engine_config_from_type(name) is HistoryEngineConfig
    assert HistoryEngineConfig(type=name).batch_rows == 10_000
    with pytest.raises(ValueError, match=r"batch_row\n.*not permitted"):
        HistoryEngineConfig(type=name, batch_row=1)
    with pytest.raises(ValueError, match=r"batch_rows\n.*greater than or equal to 1"):
        HistoryEngineConfig(type=name, batch_rows=0)
    with pytest.raises(ValueError, match=r"runner\n.*'dask'.*expected tags: 'local', 'ray'"):
        HistoryEngineConfig(type=name, runner={"type": "dask"})
    with pytest.raises(ValueError, match=r"runner.ray.encoders\n.*greater than or equal to 1"):
        HistoryEngineConfig(type=name, runner={"type": "ray", "encoders": 0})


def test_the_runner_ray_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"pip install 'feast-fusion\[ray\]'"):
        open_runner(RayRunnerConfig(type="ray"), None)
