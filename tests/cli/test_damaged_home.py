"""`run` on a home whose files are damaged ends as it ended before."""

import json
import re
import shutil
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import polars as pl

from feast_fusion.parquet.whole import read_parquet
from feast_fusion.training_set import TrainingSet
from tests.conftest import Project, open_project
from tests.damages import emptied, flipped, halved
from tests.serving.http.service_process import copy_project
from tests.trained import served, served_folder

_MEASURED = {"seconds", "online_p50_ms", "peak_rss_mb"}


def files_of_each_kind(project: Project) -> Iterator[Path]:
    """What is made anew: a file or two of each kind."""
    workspace = project.workspace
    model = served_folder(workspace)
    yield workspace.manifest
    yield workspace.source("items")
    yield workspace.source("user_stats")
    yield workspace.sources / "rejects" / "interactions.parquet"
    for view in ("item_embedding", "user_interest"):
        (sink,) = workspace.sinks.glob(f"{view}__*")
        yield max(sink.glob("*.parquet"), key=lambda part: part.stat().st_size)
    yield workspace.redis / "dump.rdb"
    yield workspace.registry  # cut in half: other bytes of it may be read, and applying mends them
    yield workspace.promoted
    yield workspace.summary
    yield workspace.training_set / "table.arrow"
    yield workspace.training_set / "manifest.json"
    yield model / "artifact.json"
    yield model.with_name("before_test") / "arrays.safetensors"


def summary(project: Project) -> dict[str, float]:
    found = json.loads(project.workspace.summary.read_text())
    return {name: value for name, value in found.items() if name not in _MEASURED}


def sink_rows(project: Project, view: str) -> pl.DataFrame:
    (sink,) = project.workspace.sinks.glob(f"{view}__*")
    rows = pl.DataFrame(read_parquet(sink))
    return rows.sort(rows.columns[0], "event_timestamp")


def test_what_is_damaged_is_made_anew(shop: Project, tmp_path: Path) -> None:
    home = shutil.copytree(shop.workspace.home, tmp_path / "home")
    project = open_project(shop.workspace.dataset.path, home)
    for path, damage in zip(
        files_of_each_kind(project), cycle([flipped, halved, emptied]), strict=False
    ):
        path.write_bytes(damage(path.read_bytes()))
    said = project.here("run")
    assert "Traceback" not in said.stdout + said.stderr
    assert summary(project) == summary(shop) | {"encoder_calls": 0}
    for view in ("item_embedding", "user_interest"):
        assert sink_rows(project, view).equals(sink_rows(shop, view))
    aside = sorted(path.name.split(".damaged-")[0] for path in home.rglob(".*.damaged-*"))
    assert [re.sub("part.*", "part", name) for name in aside] == [
        ".dump.rdb",
        ".part",
        ".part",
        ".promoted.json",
        ".registry.db",
    ]
    assert said.stdout.count("was damaged: it is made anew") == len(aside)
    assert len(TrainingSet.open(project.workspace.training_set)) == summary(shop)["training_rows"]
    served(project.workspace)


def test_a_command_that_makes_nothing_anew_names_the_file(shop: Project, tmp_path: Path) -> None:
    project = copy_project(shop, tmp_path / "home")
    _, items, stats, _, vectors, _, _, registry, *_, artifact, _ = files_of_each_kind(project)
    users = project.workspace.source("interactions")
    for command, path in (
        (("training-set",), vectors),
        (("training-set",), stats),
        (("recommend", "anybody"), items),
        (("recommend", "anybody"), users),
        (("recommend", "anybody"), artifact),
        (("recommend", "anybody"), registry),
    ):
        whole = path.read_bytes()
        path.write_bytes(halved(whole) if path == registry else flipped(whole))
        (line,) = project.here(*command, fails=True).stderr.splitlines()
        assert line.startswith("Error: "), line
        assert str(path) in line and "Run feast-fusion run" in line
        path.write_bytes(whole)
