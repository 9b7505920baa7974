"""The shop and the portal of news: as their generators write them, the whole way."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from examples.news.prepare import prepare_news
from examples.shop.prepare import prepare_shop
from tests.conftest import Project, open_project
from transformations.names import EXAMPLES, INTERACTIONS, ITEMS

EXAMPLES_OF = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, folder: Path) -> tuple[Project, str]:
    shutil.copy(EXAMPLES_OF / name / "dataset.toml", folder / "dataset.toml")
    project = open_project(folder / "dataset.toml", folder / "home")
    return project, project.here("run").stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("shop")
    prepare_shop(folder / "data", n_products=80, n_users=40, n_visits=500)
    project, printed = run("shop", folder)
    assert printed.count("Leakage audit: 0 findings") == 2, printed
    return project


def test_prices_of_the_shop_are_those_of_the_time(shop: Project) -> None:
    items = pl.read_parquet(shop.workspace.source(ITEMS))
    events = pl.read_parquet(shop.workspace.source(INTERACTIONS)).sort("event_timestamp")
    assert len(items) > items["item_id"].n_unique() == 80
    as_of = events.join_asof(items.sort("event_timestamp"), on="event_timestamp", by="item_id")
    assert as_of["price"].to_list() == as_of["value"].to_list()
    assert {*events["event_type"]} == {"view", "cart", "purchase"}
    assert not events.filter(pl.col("event_type") == "view")["positive"].any()


def test_the_shop_finds_what_is_bought(shop: Project) -> None:
    assert json.loads(shop.workspace.summary.read_text())["test_auc"] > 0.6


def test_the_news_are_recommended_by_what_they_say(tmp_path: Path) -> None:
    prepare_news(tmp_path / "data", n_articles=100, n_readers=40, n_pages=400)
    project, printed = run("news", tmp_path)
    assert printed.count("Leakage audit: 0 findings") == 2, printed
    clicks, shown = (
        pl.read_parquet(project.workspace.source(name)) for name in (INTERACTIONS, EXAMPLES)
    )
    assert {*clicks["event_type"]} == {"click"} and {*shown["event_type"]} == {"skip"}
    summary = json.loads(project.workspace.summary.read_text())
    assert summary["test_auc"] > 0.7
    assert summary["test_auc"] > summary["popularity_auc"] + 0.1
