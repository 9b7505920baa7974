"""What is guessed of columns and tables, one guess at a time."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from intake.dataset_file import load_dataset
from intake.proposal.proposal import propose
from intake.proposal.questions import Question, take_defaults
from intake.proposal.seen_column import see_column
from intake.proposal.seen_table import look_at
from intake.proposal.toml_text import render_toml
from intake.validation import validate_dataset
from tests.intake.proposal.published_shapes import (
    dressipi,
    hm,
    last_fm,
    mind,
    retail,
    steam,
    write_csv,
    yelp,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS: dict[str, tuple[list[Any], str, dict[str, str] | None]] = {
    "ts": (["1551410280", "1551413760"], "time", {"unit": "s"}),
    "timestamp": ([1551410280000], "time", {"unit": "ms"}),
    "price": (["1551410280", "1551413760"], "number", None),
    "when": (["2019-03-01 03:18:00"], "time", {}),
    "date_added": (
        ["Fri Mar 01 03:18:00 -0800 2019"],
        "time",
        {"format": "%a %b %d %H:%M:%S %z %Y"},
    ),
    "day": (["20190301", "20190315"], "time", {"format": "%Y%m%d"}),
    "day_of_week": (["1", "7"], "number", None),
    "code": (["007", "008"], "number", None),
    "is_new": (["true", "False"], "truth", None),
    "tags": ([["a"], ["b"]], "list", None),
    "attributes": ([{"a": 1}], "nested", None),
    "empty": ([None, None], "nothing", None),
    "also_buy": ([[], []], "nothing", None),
    "name": (["1", "two"], "text", None),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_what_its_values_are(name: str) -> None:
    values, kind, reading = COLUMNS[name]
    seen = see_column(name, pa.chunked_array([pa.array(values)]), NOW)
    assert seen.kind == kind
    assert (seen.time and seen.time.model_dump(exclude_none=True)) == reading


def sections(folder: Path, ask: Any = take_defaults) -> dict[str, dict[str, Any]]:
    proposal = propose(look_at([folder], NOW), "x", folder, NOW, ask)
    return {name: section.keys for name, section in proposal.sections.items()}


def test_files_of_one_shape_are_the_parts_of_one_table(tmp_path: Path) -> None:
    for part in range(3):
        write_csv(tmp_path / f"events-2024-0{part}.csv", [{"a": part, "b": 1}])
    write_csv(tmp_path / "items.csv", [{"a": 1, "title": "x"}])
    found = {table.path.name: len(table.table) for table in look_at([tmp_path], NOW)}
    assert found == {"events-2024-*.csv": 3, "items.csv": 1}
    (tmp_path / "items.csv").unlink()
    (whole,) = look_at([tmp_path], NOW)
    assert whole.path == tmp_path and len(whole.table) == 3


def test_a_line_of_names_is_told_from_values(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("N1\tsports\thttps://a/1\nN2\tnews\thttps://a/2\n")
    (tmp_path / "b.csv").write_text("user1,item2\nann,7\nbob,8\n")
    first, second = look_at([tmp_path], NOW)
    assert [*first.columns] == ["column_1", "column_2", "column_3"] and len(first.table) == 2
    assert [*second.columns] == ["user1", "item2"] and len(second.table) == 2


def test_what_was_counted_over_events_is_no_feature(tmp_path: Path) -> None:
    yelp(tmp_path)
    found = sections(tmp_path)
    assert set(found) == {"items", "interactions"}  # users have counts and names alone
    assert found["items"]["categorical"] == ("city", "categories")
    assert "numeric" not in found["items"]


def test_a_time_of_items_is_taken_where_events_agree_with_it(tmp_path: Path) -> None:
    steam(tmp_path)
    assert sections(tmp_path)["items"]["columns"]["event_timestamp"] == "date_release"
    games = (tmp_path / "games.csv").read_text().replace("201", "202")
    (tmp_path / "games.csv").write_text(games)
    items = sections(tmp_path)["items"]
    assert items["valid_from"] == "beginning" and "event_timestamp" not in items["columns"]


@pytest.mark.parametrize(
    ("shape", "asked"),
    [
        (hm, ["an item is known", "a user is known", "t_dat"]),
        (mind, ["is the user", "an item is known", "column_3"]),
        (last_fm, ["is the item", "is the user"]),
        (dressipi, ["an item is known", "date of train_sessions.csv"]),
    ],
)
def test_only_what_cannot_be_known_is_asked(shape: Any, asked: list[str], tmp_path: Path) -> None:
    shape(tmp_path)
    questions: list[str] = []

    def ask(question: Question) -> str:
        questions.append(question.words)
        return question.default

    sections(tmp_path, ask)
    assert [any(part in words for words in questions) for part in asked] == [True] * len(asked)
    assert len(questions) == len(asked)


def test_the_tables_of_a_database_are_looked_at(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    hm(data)
    for kind, path in (("duckdb", tmp_path / "shop.duckdb"), ("sqlite", tmp_path / "shop.db")):
        frames = {each.stem: pd.read_csv(each, dtype=str) for each in data.glob("*.csv")}
        if kind == "duckdb":
            with duckdb.connect(str(path)) as connection:
                for name, frame in frames.items():
                    connection.register("frame", frame)
                    connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")
        else:
            with closing(sqlite3.connect(path)) as connection:
                for name, frame in frames.items():
                    frame.to_sql(name, connection, index=False)
        proposal = propose(look_at([path], NOW), "x", tmp_path, NOW, take_defaults)
        assert (
            proposal.sections["interactions"].keys["query"] == 'SELECT * FROM "transactions_train"'
        )
        out = tmp_path / f"{kind}.toml"
        out.write_text(render_toml(proposal), encoding="utf-8")
        found = validate_dataset(load_dataset(out), tmp_path / "rejects", now=NOW)
        assert len(found.interactions) == 499 and found.items["item_id"][0].as_py()[0] == "0"
        assert found.users is not None and len(found.users) == 40


def test_items_of_a_log_in_a_database_are_asked_of_it(tmp_path: Path) -> None:
    retail(tmp_path)
    frame = pd.read_csv(tmp_path / "online_retail.csv", dtype=str, encoding="latin-1")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        frame.to_sql("sales", connection, index=False)
    proposal = propose(look_at([tmp_path / "shop.db"], NOW), "x", tmp_path, NOW, take_defaults)
    (tmp_path / "d.toml").write_text(render_toml(proposal), encoding="utf-8")
    found = validate_dataset(load_dataset(tmp_path / "d.toml"), tmp_path / "rejects", now=NOW)
    assert len(found.items) == 48 and len(found.interactions) == 487


def test_two_colons_separate_fields_too(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text(
        "".join(f"{u}::{1193 + u}::{1 + u % 5}::{978300760 + u}\n" for u in range(1, 60))
    )
    kinds = ["Comedy|Drama", "Drama", "War|Drama", "War"]
    films = "".join(f"{1193 + u}::Amélie {u} (2001)::{kinds[u % 4]}\n" for u in range(60))
    (tmp_path / "movies.dat").write_bytes(films.encode("latin-1"))
    found = sections(tmp_path)
    assert found["items"]["encoding"] == "latin-1" and found["items"]["title"] == "column_2"
    assert found["items"]["lists"] == {"column_3": "|"}
    assert found["interactions"]["columns"]["event_timestamp"] == "column_4"
    assert found["interactions"]["positive"] == "value >= 4"


def test_what_was_paid_is_no_rating(tmp_path: Path) -> None:
    rows = [
        {"user_id": f"u{at % 9}", "item_id": f"i{at % 7}", "date": f"2024-01-{1 + at % 28:02d}"}
        for at in range(300)
    ]
    for name, positive in (("value", None), ("rating", "value >= 210")):
        rated = [row | {name: at} for at, row in enumerate(rows)]
        write_csv(tmp_path / "log.csv", rated)
        assert sections(tmp_path)["interactions"].get("positive") == positive
