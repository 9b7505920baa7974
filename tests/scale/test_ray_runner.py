"""The runner `ray`: two workers give what one process gives, also where one of them is killed."""

import os
import re
import signal
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import polars as pl
import psutil
import pytest
from feast import Field
from feast.types import Int64

from feast_fusion.errors import SchemaError
from feast_fusion.history.ray_runner import RayRunner, require_room
from feast_fusion.history.rebuild import rebuild_sink
from feast_fusion.history.runner import RayRunnerConfig
from tests.feast_fusion.feast_repo import (
    DEFINITIONS,
    FEAST,
    FeastRepo,
    day,
    make_repo,
    page,
)
from tests.feast_fusion.history.table_store import TableSource
from tests.feast_fusion.history.test_history_views import Repo, at
from tests.feast_fusion.history.test_history_views import (
    test_a_computed_key_and_timestamp_are_compared_after_the_transformation as compare_computed,
)

WINDOW = ("materialize", day(0), day(200))
N_ROWS = 60
TEXTS = [f"text-{i}" for i in range(N_ROWS)]

pytestmark = pytest.mark.filterwarnings("ignore:Batch feature views are experimental")


@pytest.fixture
def repo(cluster: str, tmp_path: Path) -> FeastRepo:
    return pages_repo(tmp_path / "repo", f'{{type: ray, address: "{cluster}", encoders: 2}}')


def pages_repo(folder: Path, runner: str) -> FeastRepo:
    """60 pages in batches of 10; of the environment only what begins with FUSION_ travels."""
    repo = make_repo(
        folder,
        online_store=f"{{type: sqlite, path: {folder}/online.db}}",
        runner=runner,
        definitions=DEFINITIONS.replace("UDF_", "FUSION_UDF_"),
    )
    repo.write_pages([page(f"p{i % 7}", i, i) for i in range(N_ROWS)])
    repo.store_apply()
    return repo


def start(repo: FeastRepo, **variables: str) -> subprocess.Popen[str]:
    log = {"FUSION_UDF_LOG": str(repo.folder / "udf.log")}
    return subprocess.Popen(
        [*FEAST, *WINDOW],
        cwd=repo.folder,
        env=repo.environment(**log, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(repo: FeastRepo, *, fails: bool = False, **variables: str) -> str:
    command = start(repo, **variables)
    output, _ = command.communicate()
    assert (command.returncode != 0) is fails, output
    return output


def start_until(repo: FeastRepo, text: str) -> tuple[subprocess.Popen[str], Path, int]:
    """The command, a worker of which waits in the batch of `text`; the pipe, its open end."""
    fifo = repo.folder / "fifo"
    os.mkfifo(fifo)
    command = start(repo, FUSION_UDF_WAIT_ON=text, FUSION_UDF_FIFO=str(fifo))
    return command, fifo, os.open(fifo, os.O_WRONLY)


def reader_of(fifo: Path) -> psutil.Process:
    """The worker that waits at `fifo`."""
    for worker in workers():
        for link in Path(f"/proc/{worker.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if link.readlink() == fifo:
                    return worker
    raise AssertionError("nobody reads")


def workers() -> list[psutil.Process]:
    """Those of our cluster."""
    ours = psutil.Process().children(recursive=True)
    return [each for each in ours if each.is_running() and "ShardWorker" in each.name()]


def rows_of(repo: FeastRepo) -> pl.DataFrame:
    return repo.stored().sort("event_timestamp")


def test_a_killed_worker_does_its_batch_again_and_nothing_else(
    repo: FeastRepo, tmp_path: Path
) -> None:
    command, fifo, held = start_until(repo, "text-35")
    worker = reader_of(fifo)
    worker.kill()
    worker.wait()
    os.close(held)
    os.close(os.open(fifo, os.O_WRONLY))  # once the batch is done again
    output, _ = command.communicate()
    assert command.returncode == 0, output
    assert sorted(repo.transformed()) == sorted([*TEXTS, *TEXTS[30:40]])
    assert repo.online(["p0", "p3"]) == [56, 59]
    local = pages_repo(tmp_path / "local", "{type: local}")
    run(local)
    assert rows_of(repo).equals(rows_of(local))
    assert repo.stored().equals(local.stored()), "committed in the order of the source"
    assert list(repo.sink.parent.glob(".*.tmp")) == []

    run(repo)
    assert repo.transformed() == []
    assert repo.stored().height == N_ROWS


def test_a_killed_command_leaves_the_sink_as_it_was(repo: FeastRepo) -> None:
    command, fifo, held = start_until(repo, "text-35")
    worker = reader_of(fifo)
    command.send_signal(signal.SIGKILL)
    command.communicate()
    assert repo.stored().height == 0 and repo.watermark() is None
    worker.wait()  # it ends with the command, and so do the others
    os.close(held)
    psutil.wait_procs(workers())
    repo.transformed()
    assert not re.search(r"\[20\d\d-|\(raylet|ray::", run(repo)), "Ray is quiet"
    assert repo.stored()["emb"].list.first().to_list() == list(range(N_ROWS))
    assert list(repo.sink.parent.glob(".*.tmp")) == []


def test_a_transformation_that_raises_fails_the_command_and_changes_nothing(
    repo: FeastRepo,
) -> None:
    output = run(repo, fails=True, FUSION_UDF_RAISE_ON="text-45")
    assert "ValueError: the model refused a text" in output
    assert "Raised by the transformation of feature view 'page_vector' on 10 rows" in output
    assert repo.stored().height == 0 and repo.watermark() is None
    assert repo.online(["p0", "p3"]) == [None, None]
    assert list(repo.sink.parent.glob(".*.tmp")) == []


def test_more_encoders_than_the_cluster_has_room_for_are_refused(repo: FeastRepo) -> None:
    config = repo.folder / "feature_store.yaml"
    config.write_text(config.read_text().replace("encoders: 2", "encoders: 3"))
    output = run(repo, fails=True)
    assert "got 3 encoders of 1 CPU each, expected at most 2" in output
    assert "Lower encoders" in output
    config.write_text(re.sub('address: "[^"]*"', 'address: "127.0.0.1:1"', config.read_text()))
    assert "got no Ray cluster at '127.0.0.1:1'" in run(repo, fails=True)
    assert repo.transformed() == [] and repo.watermark() is None


def test_an_encoder_has_to_fit_one_machine() -> None:
    nodes = [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 8.0}, {"CPU": 3.0, "GPU": 2.0}]
    for cpus, gpus, room in [(2, 0, 6), (1, 0.5, 5), (2, 1, 2), (0.1, 0.1, 30)]:
        config = {"type": "ray", "cpus_per_encoder": cpus, "gpus_per_encoder": gpus}
        require_room(RayRunnerConfig(**config, encoders=room), nodes)
        with pytest.raises(SchemaError, match=rf"got {room + 1} encoders.*at most {room},"):
            require_room(RayRunnerConfig(**config, encoders=room + 1), nodes)


def test_a_history_is_computed_anew_as_a_whole(
    repo: FeastRepo, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = repo.store
    view = store.get_feature_view("page_vector")
    runner = RayRunner(RayRunnerConfig(type="ray", address=cluster, encoders=2), store.config)
    rebuild = (view, store.config, store._get_provider().offline_store, 7, runner)
    assert rebuild_sink(*rebuild) == N_ROWS
    repo.write_pages([page(f"p{i}", i, 100 + i) for i in range(20)])
    monkeypatch.setenv("FUSION_UDF_RAISE_ON", "text-115")
    with pytest.raises(ValueError, match="the model refused a text") as raised:
        rebuild_sink(*rebuild)
    assert "on 6 rows" in raised.value.__notes__[0]
    assert repo.stored().height == N_ROWS
    monkeypatch.delenv("FUSION_UDF_RAISE_ON")
    assert rebuild_sink(*rebuild) == 20
    assert repo.stored()["emb"].list.first().to_list() == list(range(100, 120))


@pytest.fixture
def views(tmp_path: Path, cluster: str) -> Repo:
    return Repo(tmp_path, runner=f'{{type: ray, address: "{cluster}", encoders: 1}}')


def test_identities_that_the_transformation_makes_are_compared_by_the_command(views: Repo) -> None:
    compare_computed(views)


def test_a_source_that_is_not_parquet_and_a_chain_of_views(views: Repo) -> None:
    with sqlite3.connect(views.folder / "tables.db") as database:
        database.execute("CREATE TABLE events (who TEXT, at INTEGER, n INTEGER)")
        rows = [("a", 1, 1), ("b", 2, 5), ("a", 3, 3), ("b", 4, 4)]
        database.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(who, int(at(day).timestamp()), n) for who, day, n in rows],
        )
    database.close()
    source = TableSource(
        database=str(views.folder / "tables.db"), name="events", field_mapping={"who": "user_id"}
    )
    store = "tests.feast_fusion.history.table_store.TableOfflineStore"
    views = Repo(views.folder, store, runner=views.runner)
    twice = views.derived(
        upstream=[views.events(source=source)], name="middle", online=False, offline=False
    )
    plus = [Field(name="plus", dtype=Int64)]
    views.apply(
        views.derived(lambda df: df.assign(plus=df["twice"] + 1), upstream=[twice], schema=plus)
    )
    views.materialize()
    assert views.stored()["plus"].to_list() == [3, 11, 7, 9]
    assert views.online("derived:plus", "a", "b") == [7, 9]
