"""A home that was copied or moved: nothing reads or writes that of another."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from cli.embedded_redis import embedded_redis, redis_status, stop_redis
from cli.feast_repository import open_store
from feast_fusion.errors import FeastFusionError
from tests.conftest import Project, open_project


def sink(project: Project, view: str) -> pl.DataFrame:
    (folder,) = project.workspace.sinks.glob(f"{view}__*")
    rows = pl.read_parquet(folder / "*.parquet")
    return rows.sort(rows.columns[0], "event_timestamp")


def test_a_copied_home_is_refused_until_it_is_run(films: Project, tmp_path: Path) -> None:
    # What means something to a shell, to YAML, to a URL.
    home = tmp_path / "a: b%20c #d?x=1 $HOME ü"
    shutil.copytree(films.workspace.home, home)
    copied = open_project(films.workspace.dataset.path, home)
    before = {path: path.stat().st_mtime_ns for path in films.workspace.sinks.rglob("*.parquet")}
    with pytest.raises(
        FeastFusionError, match=r"the home was copied or moved. Run feast-fusion run"
    ):
        open_store(copied.workspace)
    (refused,) = copied.here("recommend", "u1", fails=True).stderr.splitlines()
    assert str(films.workspace.root) in refused
    printed = copied.here("run").stdout
    assert "was trained: it is kept" in printed
    assert "Top 10 for user" in printed
    assert json.loads(copied.workspace.summary.read_text())["encoder_calls"] == 0
    for view in ("user_interest", "item_embedding", "user_embedding"):
        assert sink(copied, view).equals(sink(films, view)), "running again changes nothing"
    assert copied.workspace.registry.is_file()
    asked = ("recommend", "u1", "--json")
    again, first = (json.loads(each.here(*asked).stdout) for each in (copied, films))
    assert [i["item_id"] for i in again["items"]] == [i["item_id"] for i in first["items"]]
    assert "Top 10 for user" in copied.here("recommend", "u1").stdout
    sources = open_store(copied.workspace).list_data_sources()
    paths = [Path(path) for source in sources if (path := getattr(source, "path", None))]
    assert paths and all(path.is_relative_to(tmp_path) for path in paths)
    after = {path: path.stat().st_mtime_ns for path in films.workspace.sinks.rglob("*.parquet")}
    assert after == before


def test_a_copied_folder_does_not_find_the_server_of_the_original(tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "one") as running:
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        assert redis_status(tmp_path / "copy") is None and not stop_redis(tmp_path / "copy")
        assert running.answers()
        with embedded_redis(tmp_path / "copy") as other:
            assert other.port != running.port
        (tmp_path / "one").rename(tmp_path / "moved")
        found = redis_status(tmp_path / "moved")
        assert found is not None and found.pid == running.pid
        assert stop_redis(tmp_path / "moved") and not running.answers()
