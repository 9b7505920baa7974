"""The whole job with its sinks in Iceberg tables: what it makes is what it makes from folders."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cli.feast_repository import environment
from tests.conftest import Project, open_project
from tests.datasets import START
from tests.scale.object_store import Lake


def test_the_job_on_tables_makes_the_same(
    shop: Project, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = START + timedelta(days=30)
    asked = ("recommend", "客户1", "--json", "--as-of", f"{at:%Y-%m-%d}")
    expected = json.loads(shop.here(*asked).stdout)["items"]
    shutil.copytree(shop.workspace.home, tmp_path / "home")
    copied = open_project(shop.workspace.dataset.path, tmp_path / "home")
    for made in (copied.workspace.sinks, copied.workspace.training_set):
        shutil.rmtree(made)
    monkeypatch.setenv("FUSION_TABLES", "iceberg://lake/shop")
    said = copied.run("run").stdout
    # The training set has the digest of the one that the model was trained on.
    assert "was trained: it is kept" in said
    assert "computed anew" not in said
    assert not copied.workspace.sinks.exists()
    summaries = [json.loads(each.workspace.summary.read_text()) for each in (shop, copied)]
    same = ("item_vectors", "user_vectors", "training_rows", "test_auc")
    assert [summaries[0][name] for name in same] == [summaries[1][name] for name in same]
    assert json.loads(copied.here(*asked).stdout)["items"] == expected
    copied.here("tables", "compact")
    copied.here("tables", "expire", "--older-than-hours", "-1")
    assert len([name for name in lake.files("tables/shop") if name.endswith(".parquet")]) == 3
    assert json.loads(copied.here(*asked).stdout)["items"] == expected
    kept = replace(copied.workspace, tables="iceberg://lake/shop")
    assert environment(kept)["FUSION_TABLES"] == "iceberg://lake/shop"
