"""What a proposal says beside each guess: true, with the numbers of the files."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from intake.dataset_file import load_dataset
from intake.proposal.proposal import Proposal, propose
from intake.proposal.questions import Question, take_defaults
from intake.proposal.seen_table import look_at
from intake.proposal.toml_text import render_toml
from intake.validation import validate_dataset
from tests.intake.proposal.published_shapes import SHAPES, write_csv
from tests.intake.proposal.wine_bar import N_EARLY, N_UNKNOWN, N_WINES, START, wine_bar

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# Keys that say where a table lies or copy what other keys propose.
GIVEN = {"path", "query", "database", "columns", "time"}


def proposed(folder: Path, ask: Any = take_defaults) -> Proposal:
    return propose(look_at([folder], NOW), "bar", folder, NOW, ask)


@pytest.fixture
def bar(tmp_path: Path) -> Path:
    wine_bar(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shape", SHAPES)
def test_each_guess_has_a_reason(shape: str, tmp_path: Path) -> None:
    SHAPES[shape](tmp_path)
    for name, section in proposed(tmp_path).sections.items():
        assert section.reasons[""], name
        guessed = {*section.keys} - GIVEN - {"text"}
        assert guessed <= {*section.reasons}, f"{name}: {guessed - {*section.reasons}}"


def test_the_reasons_have_the_numbers_of_the_files(bar: Path) -> None:
    items, users, events = (proposed(bar).sections[n] for n in ("items", "users", "interactions"))
    (found,) = items.reasons[""]
    assert found.startswith(f"{N_WINES} of the {N_WINES + N_UNKNOWN} values of wine in orders.csv")
    assert f"{N_UNKNOWN} of 405 events have another wine and are rejected" in found
    (known,) = items.reasons["columns"]
    assert known.startswith("released says from when an item is known")
    assert f"{N_EARLY} of {405 - N_UNKNOWN} events" in known
    (style,) = items.reasons["lists"]
    assert style.startswith("style has several values in 53% of its fields, such as 'dry|red'")
    assert style.endswith("4 different fields are made of 3 values.")
    assert "alcohol (11.5, 12.0, 12.5)" in items.reasons["numeric"][0]
    assert "19 of the 20 values of guest" in users.reasons[""][0]
    assert "these users have no features" in users.reasons[""][0]
    assert "order_id" in events.reasons["columns"][0]


def test_what_is_said_to_be_rejected_is_rejected(bar: Path) -> None:
    (bar / "dataset.toml").write_text(render_toml(proposed(bar)), encoding="utf-8")
    found = validate_dataset(load_dataset(bar / "dataset.toml"), bar / "rejects", now=NOW)
    assert found.report.rejects["interactions"] == {"unknown item_id": N_UNKNOWN, "duplicate": 5}
    assert any(f"{N_EARLY} of {400 - N_UNKNOWN} events" in note for note in found.report.notes)
    assert not any("order_id" in note for note in found.report.notes)


def test_a_zone_that_no_file_says_is_said_to_be_assumed(bar: Path) -> None:
    written = render_toml(proposed(bar))
    assert len(re.findall(r"# .*have no offset\. UTC is(\n#  )? assumed", written)) == 2

    def ask(question: Question) -> str:
        return "Asia/Tokyo" if "times in ordered" in question.words else question.default

    events = proposed(bar, ask).sections["interactions"]
    assert events.keys["time"] == {"zone": "Asia/Tokyo"}
    assert "They are read as times of Asia/Tokyo." in events.reasons["time"][0]


def test_an_order_of_several_items_is_no_event_id(bar: Path) -> None:
    assert proposed(bar).sections["interactions"].keys["columns"]["event_id"] == "order_id"
    orders = (bar / "orders.csv").read_text()
    line = next(line for line in orders.splitlines() if line.startswith("60;"))
    (bar / "orders.csv").write_text(f"{orders}{line.replace(';W', ';W1')}\n")
    assert "event_id" not in proposed(bar).sections["interactions"].keys["columns"]


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_repeats_are_proposed_where_they_are_many(share: float, tmp_path: Path) -> None:
    """A bakery's sales: each guest takes new things, and as many old ones as `share` says."""
    n = 300
    old = int(share * n)
    sales = [
        {
            "guest": f"G{at % 10}",
            "bread": f"B{(at if at < n - old else at % 10) // 10}",
            "sold": f"{START + timedelta(hours=at):%F %T}",
        }
        for at in range(n)
    ]
    breads = [{"bread": f"B{at}", "name": f"Loaf of grain {at}"} for at in range(30)]
    write_csv(tmp_path / "sales.csv", sales)
    write_csv(tmp_path / "breads.csv", breads)
    section = proposed(tmp_path).sections.get("candidates")
    if share < 0.3:
        assert section is None
    else:
        assert section is not None and section.keys == {"repeats": True}
        why = f"{share:.0%} of the events are of an item that the user had before."
        assert section.reasons[""] == [why]
