"""`feast-fusion models` as a person meets it."""

import json
from pathlib import Path

import pytest

from feast_fusion.sealed_json import read_json, write_json
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from tests.trained import add_other_version
from training.promotions import Promotions


@pytest.fixture
def copied(films: Project, tmp_path: Path) -> Project:
    return copy_project(films, tmp_path / "home")


def test_versions_are_listed_shown_promoted_and_deleted(copied: Project) -> None:
    first = Promotions(copied.workspace).read().main
    second = add_other_version(copied.workspace)
    said = copied.here("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in said] == ["version", second, first]
    assert [line.split()[3] for line in said[1:]] == ["0%", "100%"] and "auc 0." in said[1]
    shown = json.loads(copied.here("models", "show", second[:4]).stdout)
    assert shown["name"] == second and shown["share"] == 0 and not shown["shadow"]
    assert shown["encoder_id"].startswith("all_minilm") and shown["metrics"]["validation_auc"] > 0
    answer = json.loads(copied.here("recommend", "u1", "--json").stdout)
    assert answer["model"] == first
    copied.here("models", "promote", second)
    answer = json.loads(copied.here("recommend", "u1", "--json").stdout)
    assert answer["model"] == second
    copied.here("models", "delete", first)
    listed = json.loads(copied.here("models", "list", "--json").stdout)["versions"]
    assert [each["name"] for each in listed] == [second]
    gone = copied.here("models", "rollback", fails=True)  # to what was deleted
    assert first in gone.stderr and "models list" in gone.stderr
    assert Promotions(copied.workspace).read().main == second


def test_a_version_of_other_vectors_is_refused(copied: Project) -> None:
    other = add_other_version(copied.workspace)
    path = copied.workspace.models / other / "served" / "artifact.json"
    write_json(path, read_json(path) | {"encoder_id": "another_model_123"})
    said = copied.here("models", "promote", other, fails=True)
    assert "another_model_123" in said.stderr and "--encoder NAME --model" in said.stderr
    assert other not in Promotions(copied.workspace).names()
