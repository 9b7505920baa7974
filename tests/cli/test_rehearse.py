"""A version is tried on real choices before anyone sees it; worse and better are told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from tests.trained import add_reversed_version
from training.promotions import Promotions
from training.provenance import digest_training


@pytest.fixture(scope="module")
def copied(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("rehearsal") / "home")


@pytest.fixture(scope="module")
def good(copied: Project) -> str:
    return Promotions(copied.workspace).read().main


@pytest.fixture(scope="module")
def bad(copied: Project, good: str) -> str:
    return add_reversed_version(copied.workspace)


def rehearsed(project: Project, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.here("rehearse", *options, "--json").stdout)
    return found


def test_a_worse_version_is_called_worse(copied: Project, good: str, bad: str) -> None:
    found = rehearsed(copied)
    assert (found["candidate"]["version"], found["serving"]["version"]) == (bad, good)
    assert found["verdict"] == "worse" and found["differences"]["ndcg@10"]["high"] < 0
    assert found["lower"] > found["higher"]
    said = copied.here("rehearse").stdout
    assert f"Model {bad}: worse." in said and f"{found['n_queries']:,} choices of" in said


def test_a_better_version_is_called_better(copied: Project, good: str, bad: str) -> None:
    worse = rehearsed(copied, "--model", bad, "--against", good)
    better = rehearsed(copied, "--model", good, "--against", bad)
    assert better["verdict"] == "better"
    for measure, by in better["differences"].items():
        assert by["mean"] == pytest.approx(-worse["differences"][measure]["mean"])
    assert (better["higher"], better["lower"]) == (worse["lower"], worse["higher"])


def test_a_version_is_as_good_as_itself_and_as_evaluate_says(
    copied: Project, good: str, bad: str, tmp_path: Path
) -> None:
    found = rehearsed(copied, "--model", good)
    assert found["verdict"] == "no difference shown" and found["in_common"] == 1
    assert found["higher"] == found["lower"] == 0
    report = tmp_path / "report.json"
    copied.here("evaluate", "--model", good, "--json", str(report))
    (section,) = json.loads(report.read_text())["next_positive"]
    ours = section["contenders"][0]
    assert found["n_queries"] == section["n_queries"]
    for measure in ("ndcg", "hit_rate", "reciprocal_rank"):
        assert found["serving"][measure] == pytest.approx(ours[measure])


def test_choices_that_a_version_was_fitted_to_are_refused(copied: Project, bad: str) -> None:
    said = copied.here("rehearse", "--since", "1990-01-01", fails=True)
    assert bad in said.stderr and "Give a later --since" in said.stderr
    none = copied.here("rehearse", "--since", "2200-01-01", fails=True)
    assert "expected some to rehearse with" in none.stderr


def test_a_refresh_promotes_what_it_has_trained_unless_it_is_worse(
    copied: Project, good: str, bad: str
) -> None:
    promotions = Promotions(copied.workspace)
    promotions.promote(bad)
    said = copied.here("refresh", "incremental", "--retrain").stdout
    assert f"Unchanged since model {good} was trained" in said, "else minutes are lost here"
    assert f"Model {good}: better." in said and f"Model {good} answers." in said
    assert promotions.read().shares == {good: 1.0}
    fingerprint = digest_training(copied.workspace, seed=0)
    again = add_reversed_version(copied.workspace, fingerprint)  # as if it had been trained now
    assert again == bad
    said = copied.here("refresh", "incremental", "--retrain").stdout
    assert f"Model {bad}: worse." in said and f"Model {good} answers." in said
    assert promotions.read().shares == {good: 1.0}
