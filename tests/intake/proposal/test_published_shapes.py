"""`init` on ten published shapes, questions answered by a script, and what is made of them."""

import json
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli import main
from intake.workspace import Workspace, open_workspace
from tests.conftest import open_project
from tests.intake.proposal.published_shapes import KINDS, N_ITEMS, SHAPES, amazon
from transformations.names import INTERACTIONS, ITEMS


class Expected(NamedTuple):
    """Answers to the questions in their order, and what has to come of the shape.

    Attributes
    ----------
    kind : the item column that shows its kind, and decides what is liked
    rejected : rows of the events that leave, per reason
    """

    answers: str
    n_events: int
    first_user: str
    first_time: str
    title: str
    kind: str
    keys: dict[str, dict[str, Any]]
    rejected: dict[str, int] = {}  # noqa: RUF012


FIRST = "2019-03-01 03:18:00+00:00"
SHANGHAI = {"zone": "Asia/Shanghai"}
EXPECTED = {
    "amazon": Expected(
        "goods\nbeginning\n4\n",
        600,
        "A0000000000004",
        FIRST,
        "Teapot number 7",
        "category",
        {"interactions": {"time": {"unit": "s"}, "positive": "value >= 4"}},
    ),
    "yelp": Expected(
        "yelp\nbeginning\nAmerica/New_York\n4\n",
        400,
        f"u{11:022d}",
        "2019-03-01 08:18:00+00:00",
        "Teapot place 31",
        "categories",
        {"items": {"lists": {"categories": ", "}}},
    ),
    "goodreads": Expected(
        "books\nbeginning\n4\n",
        400,
        f"{11:032x}",
        "2019-03-01 11:18:00+00:00",
        "The Teapot of 31 days",
        "title",
        {"items": {"numeric": ["publication_year", "num_pages"]}},
    ),
    "hm": Expected(
        "clothes\nbeginning\nbeginning\nUTC\n",
        499,
        f"{15:064x}",
        "2019-03-01 00:00:00+00:00",
        "Teapot top 27",
        "product_type_name",
        {"interactions": {"columns": {}}},
        {"duplicate": 1},
    ),
    "mind": Expected(
        "column_2\nnews\nbeginning\nUTC\n",
        1_481,
        "U29",
        "2019-03-01 04:17:00+00:00",
        "Why the",
        "column_2",
        {"interactions": {"positive": "clicked = 1"}},
    ),
    "last_fm": Expected(
        "column_5\ncolumn_1\nmusic\n",
        500,
        "user_000030",
        FIRST,
        "Tent song 2",
        "column_4",
        {"items": {"valid_from": "first_event"}},
    ),
    "tmall": Expected(
        "tmall\nbeginning\nAsia/Shanghai\n",
        500,
        "9030",
        FIRST,
        "帐篷 新款 2 号",
        "category",
        {"items": {"encoding": "gb18030"}, "interactions": {"time": SHANGHAI}},
    ),
    "steam": Expected(
        "games\nUTC\nUTC\n",
        400,
        "11",
        "2019-03-01 00:00:00+00:00",
        "Teapot Simulator 31",
        "title",
        {"interactions": {"positive": "is_recommended"}},
    ),
    "dressipi": Expected(
        "dresses\nbeginning\nUTC\n",
        600,
        "31",
        "2019-03-01 03:18:00.373000+00:00",
        "2002",
        "feature_value_id",
        {"items": {"combine": {"feature_value_id": "list"}}},
    ),
    "retail": Expected(
        "baskets\nEurope/London\n",
        487,
        "17887.0",
        "2019-03-01 04:16:00+00:00",
        "LAMP CAFÉ SET 21",
        "Description",
        {"interactions": {"encoding": "latin-1"}},
        {"null user_id": 13},
    ),
}


def proposed(shape: str, folder: Path) -> Workspace:
    """The shape in a folder of its own, the answers given, and nothing edited by hand."""
    data = folder / "data"
    data.mkdir()
    SHAPES[shape](data)
    out = folder / "dataset.toml"
    done = CliRunner().invoke(
        main, ["init", str(data), "--out", str(out)], input=EXPECTED[shape].answers
    )
    assert done.exit_code == 0, done.output
    assert "does not hold" not in done.output
    assert done.output.count(" | ") >= 10 * 3
    return open_workspace(out, folder / "home")


def is_in(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(is_in(value, whole[key]) for key, value in part.items())
    return bool(part == whole)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_published_shape_is_prepared_as_it_lies_there(shape: str, tmp_path: Path) -> None:
    expected = EXPECTED[shape]
    workspace = proposed(shape, tmp_path)
    where = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    done = CliRunner().invoke(main, ["prepare", *where])
    assert done.exit_code == 0, done.output
    report = json.loads(workspace.manifest.read_text())
    assert report["rejects"]["items"] == {}
    assert report["rejects"]["interactions"] == expected.rejected
    written = pq.read_table(workspace.source(INTERACTIONS))
    assert len(written) == expected.n_events
    first = written.slice(0, 1).to_pylist()[0]
    assert (first["user_id"], str(first["event_timestamp"])) == expected[2:4]
    items = {row["item_id"]: row for row in pq.read_table(workspace.source(ITEMS)).to_pylist()}
    assert len(items) == N_ITEMS
    assert expected.title in items[first["item_id"]][workspace.dataset.items.title]
    assert any(expected.kind in column for column in workspace.dataset.items.used_columns)
    assert is_in(expected.keys, tomllib.loads(workspace.dataset.path.read_text()))


def test_products_without_times_are_liked_by_their_kind(tmp_path: Path) -> None:
    """The usual case: no time of an item. By the rule its features are there, and decide."""
    workspace = proposed("amazon", tmp_path)
    project = open_project(workspace.dataset.path, workspace.home)
    said = project.here("run").stdout
    summary = json.loads(workspace.summary.read_text())
    assert summary["test_auc"] > 0.9
    assert "0 findings" in said or "clean" in said.lower()
    user = f"A{3:013d}"
    answers = project.here("recommend", user).stdout
    assert KINDS[3] in answers.splitlines()[1]


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    amazon(tmp_path)
    out = tmp_path / "dataset.toml"
    out.write_text("mine")
    done = CliRunner().invoke(main, ["init", str(tmp_path), "--out", str(out), "--yes"])
    assert done.exit_code == 1 and "a file that is there already" in done.output
    assert out.read_text() == "mine"


def test_files_without_events_are_refused_with_what_was_seen(tmp_path: Path) -> None:
    amazon(tmp_path)
    path = tmp_path / "meta_Home.json"
    done = CliRunner().invoke(main, ["init", str(path), "--out", str(tmp_path / "d"), "--yes"])
    assert done.exit_code == 1
    assert "expected a table of events" in done.output and "'asin'" in done.output
