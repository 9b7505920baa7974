"""`feast-fusion recommend --all`: what it writes, and what a run that was ended leaves."""

from functools import partial
from pathlib import Path

import polars as pl
import pytest

from feast_fusion.errors import SchemaError, StoreUnavailableError
from serving.answers import STORE_UNAVAILABLE, RankedItem, Recommendations
from serving.exported_answers import ExportedAnswers
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from transformations.names import INTERACTIONS

USERS = [f"u{at:04}" for at in range(2_500)]


def answer_to(user_id: str, *reasons: str) -> Recommendations:
    items = [RankedItem(f"{user_id}:{at}", None, 1 - at / 4) for at in range(3)]
    return Recommendations(user_id, items, 3, "known", bool(reasons), reasons, 1.0, model="m")


def test_every_user_has_the_answer_that_one_user_is_given(films: Project, tmp_path: Path) -> None:
    copied = copy_project(films, tmp_path / "home")
    out = tmp_path / "answers"
    capped = ("--max-per", "genres=1")
    copied.here("recommend", "--all", "--out", str(out), "-n", "4", *capped)
    found = pl.read_parquet(out / "*.parquet")
    acted = pl.read_parquet(copied.workspace.source(INTERACTIONS))["user_id"].unique()
    assert set(acted) <= set(found["user_id"]) and not found["degraded"].any()
    said = copied.here("recommend", "u3", "-n", "4", *capped).stdout
    own = found.filter(user_id="u3").sort("rank")
    assert [line.split(". ", 1)[1].rsplit(None, 1)[0] for line in said.splitlines()[1:]] == [
        title or item_id for title, item_id in own.select("title", "item_id").iter_rows()
    ]
    refused = copied.here("recommend", "--all", "--out", str(out), fails=True)
    assert "an export of another n and variety" in refused.stderr


def test_a_run_that_was_ended_is_gone_on_with(tmp_path: Path) -> None:
    export, asked = ExportedAnswers(tmp_path / "out", USERS, {"n": 3}), list[str]()

    def fails_late(user_id: str) -> Recommendations:
        asked.append(user_id)
        return answer_to(user_id, *([STORE_UNAVAILABLE] if user_id == "u1700" else []))

    with pytest.raises(StoreUnavailableError, match=r"user u1700: .* same command again"):
        list(export.write(partial(map, fails_late)))
    assert [path.name for path in export.folder.glob("[!.]*.parquet")] == ["part-000000.parquet"]
    asked.clear()

    def notes(user_id: str) -> Recommendations:
        asked.append(user_id)
        return answer_to(user_id)

    assert list(export.write(partial(map, notes))) == [1_000, 2_000, 2_500]
    assert asked == USERS[1_000:]
    found = pl.read_parquet(export.folder / "*.parquet")
    assert found["user_id"].unique().sort().to_list() == USERS
    assert found["item_id"].to_list() == [f"{user}:{at}" for user in USERS for at in range(3)]


def test_an_export_of_something_else_is_not_mixed_with(tmp_path: Path) -> None:
    list(ExportedAnswers(tmp_path / "out", USERS[:3], {"n": 3}).write(partial(map, answer_to)))
    others = ExportedAnswers(tmp_path / "out", USERS[:2], {"n": 5})
    with pytest.raises(SchemaError, match="an export of another n and users"):
        list(others.write(partial(map, answer_to)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(SchemaError, match="a folder of other files"):
        list(ExportedAnswers(tmp_path / "mine", USERS, {}).write(partial(map, answer_to)))
