"""A dataset.toml that says otherwise than when it was run: told, until `run` has followed it."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intake.described_histories import former_histories
from tests.applying import apply_here
from tests.cli.online_interest import online_interest
from tests.cli.reading_commands import READING
from tests.conftest import Project, open_project
from tests.datasets import BRIEF_CANDIDATES
from tests.serving.http.service_process import copy_project
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.interest import Vector

READING_MORE = ("tune-encoder --out {folder}/encoder", "export u1 --out {folder}/u1")


@pytest.fixture(scope="module")
def copied(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("changed") / "home")


def described(project: Project, folder: Path, before: str, after: str) -> Project:
    """The same data set and home with another description."""
    data = project.workspace.dataset.path
    folder = shutil.copytree(data.parent, folder)
    text = data.read_text()
    assert text.count(before) == 1
    (folder / data.name).write_text(text.replace(before, after))
    return open_project(folder / data.name, project.workspace.home)


def test_every_command_that_reads_names_the_key_and_the_remedy(
    copied: Project, tmp_path: Path
) -> None:
    other = described(copied, tmp_path / "data", 'title = "title"', 'title = "genres"')
    told = "has changed since the last run in [items] title ('title' -> 'genres')"
    for asked in (*READING, *READING_MORE):
        said = other.here(*asked.format(folder=tmp_path).split(), fails=True)
        (line,) = said.stderr.splitlines()
        assert told in line and str(other.workspace.dataset.path) in line, asked
        assert "feast-fusion run" in line, asked
    lines = other.here("doctor", fails=True).stdout.splitlines()
    (broken,) = [line for line in lines if told in line]
    assert broken.split()[:2] == ["broken", "dataset"]


def test_what_is_prepared_again_is_refused_until_it_is_applied(
    films: Project, tmp_path: Path
) -> None:
    project = copy_project(films, tmp_path / "home")
    other = described(project, tmp_path / "data", 'categorical = ["gender"]', "categorical = []")
    told = "[users] categorical (['gender'] -> nothing)"
    other.here("prepare")
    assert told in other.here("recommend", "u1", fails=True).stderr
    assert told in other.here("refresh", "incremental", fails=True).stderr
    assert told in other.here("doctor", fails=True).stdout
    assert (
        "[users] categorical (nothing -> ['gender'])" in project.here("doctor", fails=True).stdout
    )
    apply_here(other.workspace)
    said = other.here("recommend", "u1", fails=True).stderr  # the model was trained on more
    assert "without user_profile__gender" in said and "train again: feast-fusion run" in said
    assert "without user_profile__gender" in other.here("doctor", fails=True).stdout


def test_what_only_makes_answers_old_is_told_and_answered(copied: Project, tmp_path: Path) -> None:
    key = 'positive = "value >= 4"'
    other = described(copied, tmp_path / "data", key, f"{key}\nvalue_range = [0.0, 9.0]")
    said = other.here("recommend", "u1", "-n", "2").stdout
    told = "has changed since the last run in [interactions] value_range (nothing -> [0.0, 9.0])"
    assert told in said and "Top 2 for user u1" in said
    (line,) = [line for line in other.here("doctor").stdout.splitlines() if told in line]
    assert line.split()[:2] == ["warning", "dataset"]


def test_what_models_and_answers_alone_depend_on_is_not_told(
    copied: Project, tmp_path: Path
) -> None:
    more = "[ranker]\nepochs = 3\n[live]\nuser_ttl_s = 9\n[variety]\ndiversity = 0.1\n[encoder]"
    other = described(copied, tmp_path / "data", "[encoder]", more)
    assert "has changed" not in other.here("recommend", "u1").stdout
    assert "has changed" not in other.here("doctor").stdout


INTEREST = f"""[interest]
decay = 0.25
positive_weight = 2.0
[ranker]
epochs = 1
{BRIEF_CANDIDATES}[encoder]"""


def replayed(vectors: dict[str, Vector], events: pl.DataFrame) -> Vector:
    """What [interest] says of one user's events, as slowly as anyone can check it."""
    state = np.zeros(384)
    for item_id, positive in events.select("item_id", "positive").iter_rows():
        state = 0.25 * state + 0.75 * (2.0 if positive else -0.5) * vectors[item_id]
        state /= np.linalg.norm(state)
    return state.astype(np.float32)


def newest_vectors(project: Project, view: str, key: str) -> dict[str, Vector]:
    (folder,) = project.workspace.sinks.glob(f"{view}__*")
    rows = pl.read_parquet(folder / "*.parquet").sort("event_timestamp")
    return {row[key]: np.array(row[view], dtype=np.float32) for row in rows.to_dicts()}


def test_a_run_computes_history_anew_that_followed_the_former_description(
    films: Project, tmp_path: Path
) -> None:
    project = copy_project(films, tmp_path / "home")
    other = described(project, tmp_path / "data", "[encoder]", INTEREST)
    text = other.workspace.dataset.path.read_text().replace("Genres: {genres}", "Kind: {genres}")
    other.workspace.dataset.path.write_text(text)
    other = open_project(other.workspace.dataset.path, project.workspace.home)
    said = other.here("refresh", "full", fails=True).stderr
    assert "[interest] decay (nothing -> 0.25)" in said and "[items] text (" in said
    assert "rows computed anew" in other.here("run").stdout
    items = newest_vectors(other, "item_embedding", "item_id")
    item = pl.read_parquet(other.workspace.source("items")).filter(item_id="f7").to_dicts()[0]
    described_so = f"{item['title']} ({item['year']}). Kind: {', '.join(item['genres'])}."
    cache = Embedder(other.workspace, identify(other.workspace.dataset).encoder_id).cached.cache
    np.testing.assert_array_equal(items["f7"], cache.lookup([described_so])[0][0])
    events = pl.read_parquet(other.workspace.source("interactions")).filter(user_id="u1")
    expected = replayed(items, events.sort("event_timestamp", "item_id"))
    offline = newest_vectors(other, "user_interest", "user_id")["u1"]
    np.testing.assert_allclose(offline, expected, atol=1e-5)
    np.testing.assert_array_equal(online_interest(other, "u1"), offline)
    histories = [folder.name for folder in other.workspace.sinks.glob("[!.]*")]
    assert len(histories) == 3
    assert former_histories(other.workspace, histories) == []
    assert set(former_histories(project.workspace, histories)) == {*histories}
    assert "has changed" not in other.here("doctor").stdout


def test_another_data_set_of_the_same_name_is_refused_and_a_moved_one_answers(
    films: Project, tmp_path: Path
) -> None:
    project = copy_project(films, tmp_path / "home", tmp_path / "data")
    project.here("prepare")
    original, home = project.workspace.dataset.path, project.workspace.home
    moved = shutil.copytree(original.parent, tmp_path / "moved") / original.name
    assert "Top 10 for user u1" in open_project(moved, home).here("recommend", "u1").stdout
    shutil.copyfile(moved.with_name("users.parquet"), moved.with_name("items.parquet"))
    other = open_project(moved, home)
    for asked in ("recommend u1", "run", "prepare", "doctor"):
        said = other.here(*asked.split(), fails=True).stderr
        assert str(original) in said and str(moved) in said, asked
        assert "another name" in said and "--home" in said
