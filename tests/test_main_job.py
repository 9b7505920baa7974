"""The main job from files to recommendations, by the real commands, on data sets made here."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from cli.feast_repository import REPOSITORY, open_store
from cli.redis import running_redis
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from training.retrieval import build_training_set
from transformations.embedder import Embedder
from transformations.names import SERVICE

SUMMARY_KEYS = {
    "seconds",
    "encoder_calls",
    "item_vectors",
    "user_vectors",
    "training_rows",
    "test_auc",
    "popularity_auc",
    "online_p50_ms",
    "peak_rss_mb",
}


def summary(project: Project) -> dict[str, float]:
    loaded: dict[str, float] = json.loads(project.workspace.summary.read_text())
    return loaded


def sink(project: Project, view: str) -> pl.DataFrame:
    (folder,) = project.workspace.sinks.glob(f"{view}__*")
    return pl.DataFrame(ds.dataset(folder, format="parquet").to_table())


@pytest.mark.parametrize("name", ["films", "shop"])
def test_any_data_set_runs_to_a_recommendation(name: str, request: pytest.FixtureRequest) -> None:
    project: Project = request.getfixturevalue(name)
    numbers = summary(project)
    assert numbers.keys() >= SUMMARY_KEYS
    assert numbers["encoder_calls"] > 0
    assert numbers["item_vectors"] == len(sink(project, "item_embedding")) > 0
    assert 0.5 < numbers["test_auc"] <= 1.0
    events = pl.read_parquet(project.workspace.sources / "interactions.parquet")
    user = events["user_id"][-1]
    answer = json.loads(project.here("recommend", user, "-n", "5", "--json").stdout)
    seen = set(events.filter(pl.col("user_id") == user)["item_id"])
    assert answer["user_id"] == user
    assert answer["user"] == "known"
    assert len(answer["items"]) == min(5, 80 - len(seen))
    assert seen.isdisjoint(item["item_id"] for item in answer["items"])
    assert all(item["title"] for item in answer["items"])
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)


def test_an_unknown_user_gets_popular_items_and_is_told_so(films: Project) -> None:
    printed = films.here("recommend", "nobody", "-n", "3").stdout
    assert "nothing known of this user" in printed
    answer = json.loads(films.here("recommend", "nobody", "-n", "3", "--json").stdout)
    assert answer["user"] == "unknown"
    assert len(answer["items"]) == 3


def test_a_filter_holds_now_and_in_the_past(films: Project) -> None:
    for when in ([], ["--as-of", "2024-02-01"]):
        asked = ["recommend", "nobody", "-n", "80", "--filter", "year <= 1952", "--json", *when]
        answer = json.loads(films.here(*asked).stdout)
        assert {item["item_id"] for item in answer["items"]} == {"f1", "f2"}
        assert not [reason for reason in answer["reasons"] if "model" not in reason]
    refused = films.here("recommend", "nobody", "--filter", "year <= 1952 and prize", fails=True)
    assert "filter, character 18: got an unknown column 'prize'" in refused.stderr


def test_a_changed_text_is_a_second_version_with_its_own_vector(
    films: Project, tmp_path: Path
) -> None:
    """Both versions are offline, the old one for a label in between."""
    project = copy_project(films, tmp_path / "home", tmp_path / "data")
    items_path = project.workspace.dataset.items.path
    items = pl.read_parquet(items_path)
    changed_at = datetime.now(UTC)
    second = items.filter(pl.col("item_id") == "f7").with_columns(
        event_timestamp=pl.lit(changed_at).cast(items.schema["event_timestamp"]),
        title=pl.lit("A completely different story about whales"),
    )
    pl.concat([items, second]).write_parquet(items_path)
    project.here("prepare")
    cached = vectors_cached(project)
    project.here("redis", "start")
    try:
        until = (changed_at + timedelta(minutes=1)).isoformat()
        feast(project, "materialize-incremental", until)
        vectors = sink(project, "item_embedding").filter(pl.col("item_id") == "f7")
        old, new = vectors.sort("event_timestamp")["item_embedding"].to_list()
        assert len(vectors) == 2
        assert float(np.dot(old, new)) < 0.95
        assert vector_online(project, "f7") == pytest.approx(new)
        assert vectors_cached(project) == cached + 1
    finally:
        project.here("redis", "stop")
    assert vector_of_label(project, changed_at - timedelta(hours=1)) == pytest.approx(old)
    assert vector_of_label(project, changed_at + timedelta(hours=1)) == pytest.approx(new)


def feast(project: Project, *arguments: str) -> None:
    """The real `feast` in feature_repo/, with what `feast-fusion env` exports, as a user would."""
    exports = project.here("env").stdout
    command = f"{exports}\n{Path(sys.executable).parent / 'feast'} {' '.join(arguments)}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def vectors_cached(project: Project) -> int:
    (folder,) = project.workspace.sinks.glob("item_embedding__*")
    embedder = Embedder(project.workspace, folder.name.split("__")[1])
    return len(embedder.cached.cache)


def vector_online(project: Project, item_id: str) -> list[float]:
    redis = running_redis(project.workspace)
    assert redis is not None
    (folder,) = project.workspace.sinks.glob("item_embedding__*")
    read = open_store(project.workspace, redis).get_online_features(
        features=[f"{folder.name}:item_embedding"], entity_rows=[{"item_id": item_id}]
    )
    found: list[float] = read.to_dict()["item_embedding"][0]
    return found


def vector_of_label(project: Project, label: datetime) -> list[float]:
    """The vector that a label on film f7 at this time gets."""
    spine = pa.table(
        {
            "user_id": ["u1"],
            "item_id": ["f7"],
            "event_timestamp": pa.array([label], pa.timestamp("us", "UTC")),
        }
    )
    built = build_training_set(open_store(project.workspace), SERVICE, spine)
    vector = built.vectors["item_embedding"]
    found: list[float] = vector.values[vector.index[0]].tolist()
    return found
