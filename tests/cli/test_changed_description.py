"""A dataset.toml that says otherwise than when it was run: told before an answer is wrong."""

import shutil
from pathlib import Path

import pytest

from tests.applying import apply_here
from tests.cli.reading_commands import READING
from tests.conftest import Project, open_project
from tests.serving.http.service_process import copy_project

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
    assert "Traceback" not in other.run("recommend", "u1", fails=True).stderr


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
