"""Prepared sources: complete, sorted, the same every time, and never half of one and of another."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.times import TIMESTAMP
from intake.profile_schema import item_profile_schema, user_profile_schema
from intake.workspace import Workspace, open_workspace
from tests.datasets import FILMS_TOML, make_films, make_shop
from transformations.prepared_sources import write_sources
from transformations.schema import (
    ITEM_FACTORS,
    ITEM_NEIGHBOURS,
    ITEM_STATS,
    USER_EVENTS,
    USER_RECENT,
    USER_SNAPSHOTS,
    USER_STATS,
)

ACTIVITY = {
    "item_stats": ITEM_STATS,
    "user_stats": USER_STATS,
    "user_recent": USER_RECENT,
    "user_events": USER_EVENTS,
    "user_snapshots": USER_SNAPSHOTS,
    "item_neighbours": ITEM_NEIGHBOURS,
    "item_factors": ITEM_FACTORS,
}
INPUTS = {"items", "users", "interactions"}


@pytest.fixture
def films(tmp_path: Path) -> Workspace:
    path = make_films(tmp_path / "films", n_users=20, n_items=30, n_events=400)
    return open_workspace(path, tmp_path / "home")


def content_anywhere(folder: Path) -> dict[str, bytes | dict[str, object]]:
    """The same for another home, which the manifest names."""
    files: dict[str, bytes | dict[str, object]] = {**content(folder)}
    manifest = json.loads((folder / "prepared.json").read_bytes())
    files["prepared.json"] = manifest | {"digest": None} | {"preparation": None}
    return files


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def add_event(workspace: Workspace, **columns: object) -> None:
    path = workspace.dataset.interactions.path
    frame = pl.read_parquet(path)
    row = {**frame.row(0, named=True), "event_id": "new", **columns}
    pl.concat([frame, pl.DataFrame([row], schema=frame.schema)]).write_parquet(path)


def test_all_sources_are_there_in_their_schema_and_order(films: Workspace) -> None:
    report = write_sources(films)
    assert report.read == {"items": 30, "users": 15, "interactions": 400}
    assert report.users_without_profile == 5
    assert report.rows.keys() == INPUTS | ACTIVITY.keys()
    raw = {
        name: pq.read_schema(films.dataset.path.parent / f"{name}.parquet")
        for name in INPUTS
        if name != "interactions"
    }
    schemas = {
        **ACTIVITY,
        "items": item_profile_schema(films.dataset, raw["items"]),
        "users": user_profile_schema(films.dataset, raw["users"]),
    }
    for name, n_rows in report.rows.items():
        table = pq.read_table(films.sources / f"{name}.parquet")
        assert len(table) == n_rows
        assert table.schema == schemas.get(name, table.schema)
        by_time = name in ("interactions", "item_neighbours", "item_factors")
        key = "event_timestamp" if by_time else table.column_names[0]
        frame = pl.DataFrame(table.select(dict.fromkeys([key, "event_timestamp"])))
        assert frame.equals(frame.sort(frame.columns))


def test_interactions_keep_what_later_stages_read(films: Workspace) -> None:
    write_sources(films)
    raw = pl.read_parquet(films.dataset.interactions.path)
    table = pq.read_table(films.sources / "interactions.parquet")
    expected = ["user_id", "item_id", "event_timestamp", "positive", "value", "event_id"]
    assert table.column_names == expected
    assert table.schema.field("event_timestamp").type == TIMESTAMP
    raw = raw.with_columns(positive=pl.col("value") >= 4)
    order = ["event_timestamp", "user_id", "item_id", "event_id"]
    assert pl.DataFrame(table).equals(raw.select(expected).sort(order))


def test_implicit_purchases_with_repeats_and_without_users(tmp_path: Path) -> None:
    shop = open_workspace(make_shop(tmp_path / "shop"), tmp_path / "home")
    report = write_sources(shop)
    assert "users" not in report.rows
    recent = pl.read_parquet(shop.sources / "user_recent.parquet")
    assert recent.select(pl.col("item_ids").list.n_unique() < pl.col("item_ids").list.len())[
        "item_ids"
    ].any()
    assert recent["positives"].explode().unique().to_list() == [1]
    assert recent["values"].explode().is_nan().all()
    snapshots = pl.read_parquet(shop.sources / "user_snapshots.parquet")
    assert snapshots["disliked"].list.len().max() == 0
    assert snapshots.filter(
        pl.col("liked").list.len() != pl.col("liked").list.n_unique()
    ).is_empty()


def test_unchanged_inputs_are_not_prepared_again(films: Workspace) -> None:
    first = write_sources(films)
    before = {path: path.stat().st_mtime_ns for path in films.sources.rglob("*")}
    second = write_sources(films)
    assert (first.is_unchanged, second.is_unchanged) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in films.sources.rglob("*")} == before
    assert (second.read, second.rows, second.rejects) == (first.read, first.rows, first.rejects)


def test_a_prepare_from_nothing_is_byte_for_byte_the_same(films: Workspace, tmp_path: Path) -> None:
    write_sources(films)
    again = open_workspace(films.dataset.path, tmp_path / "other")
    write_sources(again)
    assert content_anywhere(films.sources) == content_anywhere(again.sources)


@pytest.mark.parametrize(
    ("old", "new"), [("history = 10", "history = 11"), ("value >= 4", "value >= 3")]
)
def test_another_description_is_prepared_again(films: Workspace, old: str, new: str) -> None:
    write_sources(films)
    films.dataset.path.write_text(FILMS_TOML.replace(old, new), encoding="utf-8")
    changed = open_workspace(films.dataset.path, films.home)
    assert not write_sources(changed).is_unchanged


def test_another_file_or_a_lost_source_is_prepared_again(films: Workspace) -> None:
    write_sources(films)
    add_event(films)
    assert write_sources(films).read["interactions"] == 401
    (films.sources / "user_recent.parquet").unlink()
    assert not write_sources(films).is_unchanged
    assert (films.sources / "user_recent.parquet").is_file()


def test_a_row_of_the_future_comes_in_when_its_time_has_come(films: Workspace) -> None:
    due = datetime(2030, 1, 1, tzinfo=UTC)
    add_event(films, event_timestamp=due)
    early = datetime(2029, 1, 1, tzinfo=UTC)
    report = write_sources(films, now=early)
    assert report.rejects["interactions"] == {"event_timestamp in the future": 1}
    assert write_sources(films, now=due - timedelta(microseconds=1)).is_unchanged
    late = write_sources(films, now=due)
    assert late.rows["interactions"] == report.rows["interactions"] + 1
    assert late.rejects["interactions"] == {}
    assert len(pq.read_table(films.sources / "rejects" / "interactions.parquet")) == 0


class Interrupted(Exception):
    """What a progress callback raises in place of a key press."""


@pytest.mark.parametrize("name", ["items", "interactions", "item_stats", "user_snapshots"])
def test_an_interrupted_prepare_leaves_the_old_sources(films: Workspace, name: str) -> None:
    def interrupt(source: str, done: int, total: int) -> None:
        if source == name and done == total:
            raise Interrupted

    write_sources(films)
    before = content(films.sources)
    add_event(films)
    with pytest.raises(Interrupted):
        write_sources(films, progress=interrupt)
    assert content(films.sources) == before
    assert write_sources(films).rows["interactions"] == 401


KILLED = """
import os, signal, sys
from pathlib import Path
from transformations import prepared_sources
from intake.workspace import open_workspace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at(source, done, total):
    if source == "user_recent" and done == total:
        die()

workspace = open_workspace(sys.argv[1], sys.argv[2])
if sys.argv[3] == "while writing":
    prepared_sources.write_sources(workspace, progress=die_at)
rename = Path.rename
def rename_once(path, target):
    rename(path, target)
    if path.name == "sources":
        die()
Path.rename = rename_once
prepared_sources.write_sources(workspace)
"""


@pytest.mark.parametrize("moment", ["while writing", "between the renames"])
def test_a_killed_prepare_is_made_good_by_the_next(films: Workspace, moment: str) -> None:
    write_sources(films)
    before = content(films.sources)
    add_event(films)
    command = [sys.executable, "-c", KILLED, str(films.dataset.path), str(films.home), moment]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    if moment == "while writing":
        assert content(films.sources) == before
    report = write_sources(films)
    assert not report.is_unchanged
    assert report.rows["interactions"] == 401
    assert [path.name for path in films.root.iterdir() if path.is_dir()] == ["sources"]


def test_a_failed_validation_leaves_the_old_sources_and_new_rejects(films: Workspace) -> None:
    write_sources(films)
    before = content(films.sources)
    path = films.dataset.interactions.path
    frame = pl.read_parquet(path).with_columns(pl.lit("nowhere").alias("item_id"))
    frame.write_parquet(path)
    with pytest.raises(SchemaError, match="no row is left"):
        write_sources(films)
    after = content(films.sources)
    rejects = "rejects/interactions.parquet"
    assert after.pop(rejects) != before.pop(rejects)
    assert after == before
    assert len(pq.read_table(films.sources / rejects)) == 400


def test_progress_reaches_the_end_of_every_source(films: Workspace) -> None:
    seen: dict[str, tuple[int, int]] = {}
    report = write_sources(
        films, progress=lambda name, done, total: seen.update({name: (done, total)})
    )
    assert seen == {name: (n_rows, n_rows) for name, n_rows in report.rows.items()}


def test_two_prepares_at_once_give_one_whole_set(films: Workspace, tmp_path: Path) -> None:
    code = (
        "import sys; from transformations.prepared_sources import write_sources;"
        "from intake.workspace import open_workspace;"
        "write_sources(open_workspace(sys.argv[1], sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(films.dataset.path), str(films.home)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    alone = open_workspace(films.dataset.path, tmp_path / "alone")
    write_sources(alone)
    assert content_anywhere(films.sources) == content_anywhere(alone.sources)
