"""The page of a run says what the sources say, and is one file that needs nothing else."""

import re
from collections import Counter

import polars as pl
import pytest

from tests.conftest import Project
from tests.evaluation.page_parser import Page


@pytest.fixture(scope="module")
def page(films: Project) -> Page:
    return Page(films.workspace.report.read_text(encoding="utf-8"))


def test_it_refers_to_nothing(page: Page) -> None:
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "img", "a", "iframe"})


def test_the_data_are_counted(page: Page, films: Project) -> None:
    events = pl.read_parquet(films.workspace.source("interactions"))
    counts = sorted(Counter(events["item_id"].to_list()).values(), reverse=True)
    tenth = sum(counts[:8]) / len(events)
    said = f"The most popular tenth of 80 items has {tenth:.0%} of the events; {80 - len(counts)}"
    assert any(text.startswith(said) for text in page.texts)
    first, last = events["event_timestamp"].min(), events["event_timestamp"].max()
    assert f"{len(events):,} events from {first:%F} to {last:%F}." in page.texts
    rows = page.rows()
    assert ["interactions", "3,000", "0", ""] in rows
    assert ["items: year", "80", f"{9 / 80:.1%}"] in rows
    assert ["items: genres", "80", "0.0%"] in rows


def test_what_the_steps_found_is_there(page: Page) -> None:
    audited = [row for row in page.rows() if row[-1] == "none"]
    assert [row[0] for row in audited] == ["the ranker", "the next choice"]
    assert all(re.fullmatch(r"[\d,]+ of [\d,]+", row[1]) for row in audited)
    assert [row for row in page.rows() if row[0] == "popularity"]
    answered = [text for text in page.texts if text.startswith("User u")]
    assert len(answered) == 3
    assert all("Film number" in text for text in answered)
    assert sum(row[0] == "1" and row[1].startswith("Film number") for row in page.rows()) == 3
