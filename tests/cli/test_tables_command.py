"""`feast-fusion tables`: fewer files, and what was recommended before."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project


@pytest.fixture
def restored(films: Project, tmp_path: Path) -> Iterator[Project]:
    """The films, whose sinks are afterwards as they were."""
    sinks = films.workspace.sinks
    shutil.copytree(sinks, tmp_path / "sinks")
    yield films
    shutil.rmtree(sinks)
    shutil.copytree(tmp_path / "sinks", sinks)


def parts(project: Project) -> list[Path]:
    return sorted(project.workspace.sinks.glob("*/[!._]*.parquet"))


def test_compact_and_expire_keep_the_answers(restored: Project) -> None:
    films = restored
    asked = ("recommend", "u1", "--json", "--as-of", "2024-06-01")
    before = json.loads(films.here(*asked).stdout)["items"]
    n_files = len(parts(films))
    said = films.here("tables", "compact").stdout
    assert said.count(" files, now 1.") == len({path.parent for path in parts(films)}) < n_files
    assert json.loads(films.here(*asked).stdout)["items"] == before
    assert ": 0 files removed." in films.here("tables", "expire").stdout
    said = films.here("tables", "expire", "--older-than-hours", "-1").stdout
    assert "files removed." in said and ": 0 files" not in said
    assert json.loads(films.here(*asked).stdout)["items"] == before


def test_sinks_that_were_applied_elsewhere_are_refused(films: Project) -> None:
    refused = films.run("tables", "compact", fails=True, FUSION_TABLES="iceberg://lake/films")
    assert "FUSION_TABLES was another" in refused.stderr and "Traceback" not in refused.stderr
    refused = films.run("tables", "compact", fails=True, FUSION_TABLES="s3://lake/films")
    assert "expected iceberg://CATALOG/NAMESPACE" in refused.stderr
