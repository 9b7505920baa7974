"""The whole job with a writer behind a real server: history, online, ranker, and no call twice."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from feast_fusion.redis_matrix import online_store_of, read_online
from tests.conftest import Project, open_project
from tests.datasets import START, make_films
from tests.feast_fusion.writing.chat_server import Behaviour, chat_server
from tests.waiting import wait_until
from training.ranker.artifact import Artifact
from transformations.names import SERVICE

SECTION = """
[writer]
model = "some/model"
choices = {{mood = ["light", "dark", "tense"]}}
words = {{themes = 3}}
[writer.server]
url = "{url}"
n_attempts = 1
[ranker]
epochs = 1
[candidates]
phases = 1
[candidates.sequence]
epochs = 1
more_epochs = 1
[candidates.chooser]
epochs = 1
"""
N_ITEMS = 30
CHANGED = START + timedelta(days=10)


@dataclass
class Written:
    project: Project
    server: Behaviour
    printed: str


def describe(folder: Path, url: str) -> Path:
    """Few films, of which one has another title from `CHANGED` on."""
    path = make_films(folder, n_users=15, n_items=N_ITEMS, n_events=200)
    items = pl.read_parquet(folder / "items.parquet")
    newer = items.head(1).with_columns(
        title=pl.lit("War of worlds"),
        event_timestamp=pl.lit(CHANGED).cast(items.schema["event_timestamp"]),
    )
    pl.concat([items, newer]).write_parquet(folder / "items.parquet")
    path.write_text(path.read_text(encoding="utf-8") + SECTION.format(url=url), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    folder, server = tmp_path_factory.mktemp("written"), Behaviour()
    with chat_server(server) as url:
        project = open_project(describe(folder / "data", url), folder / "home")
        printed = project.run("run").stdout
        yield Written(project, server, printed)


def test_each_version_is_asked_about_once_and_the_cost_is_said(written: Written) -> None:
    n_texts = N_ITEMS + 1
    assert len(written.server.asked) == len(set(written.server.asked)) == n_texts
    assert f"Attributes of {n_texts} texts, estimated: {n_texts} calls" in written.printed
    assert f"Attributes written: {n_texts} calls" in written.printed
    again = written.project.run("write").stdout
    assert f"all written before ({n_texts} calls" in again
    assert len(written.server.asked) == n_texts


def test_history_has_each_version_and_online_the_newest(written: Written) -> None:
    workspace = written.project.workspace
    (sink,) = workspace.sinks.glob("item_attributes__*")
    assert sink.name.startswith("item_attributes__model_")
    with embedded_redis(workspace.redis) as running:
        store = open_store(workspace, connection_string(running.url))
        (view,) = [v for v in store.list_batch_feature_views() if v.name == sink.name]
        assert view.tags["writer_id"] == sink.name.split("__")[1]
        times = [CHANGED - timedelta(days=1), CHANGED + timedelta(days=1)]
        asked = pd.DataFrame(
            {"user_id": "u1", "item_id": "f0", "event_timestamp": pd.to_datetime(times)}
        )
        service = store.get_feature_service(SERVICE)
        assert service.tags["writer_id"] == view.tags["writer_id"]
        found = store.get_historical_features(asked, service).to_df()
        themes = [list(words) for words in found["themes"]]
        assert themes == [["film", "number", "0"], ["war", "of", "worlds"]]
        features = [f"{sink.name}:mood", f"{sink.name}:themes"]
        online = read_online(store, features, {"item_id": ["f0", "f1"]})
        assert list(online.columns["themes"].values[:3]) == themes[1]  # type: ignore[union-attr]
        online_store_of(store).disconnect()


def test_the_ranker_reads_them_as_categories(written: Written) -> None:
    artifact = Artifact.load(written.project.workspace.artifact)
    known = artifact.features.vocabularies
    assert set(known["item_attributes__mood"].values) == {"light", "dark", "tense"}
    assert "number" in known["item_attributes__themes"].values
    assert "Top 10 for user" in written.printed


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    server = Behaviour(delay_s=0.05)
    with chat_server(server) as url:
        project = open_project(describe(tmp_path / "data", url), tmp_path / "home")
        project.run("prepare")
        command = [str(Path(sys.executable).parent / "feast-fusion"), "write"]
        options = ["--dataset", str(project.workspace.dataset.path)]
        options += ["--home", str(project.workspace.home)]
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: len(server.asked) > 20)  # of batches of 8 and 16
        process.kill()
        process.wait()
        wait_until(lambda: not server.under_way)
        first = set(server.asked)
        server.asked.clear()
        project.run("write")
        assert len(server.asked) <= N_ITEMS + 1 - 8, "the first batch is asked about no more"
        assert len(first | set(server.asked)) == N_ITEMS + 1


def test_without_a_writer_the_command_says_what_is_missing(tmp_path: Path) -> None:
    project = open_project(make_films(tmp_path / "data"), tmp_path / "home")
    done = project.run("write", fails=True)
    assert "got no [writer]" in done.stderr and "Traceback" not in done.stderr
