"""Groceries as three files: the fixed sample, whole and the same every time."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from examples.groceries.prepare import prepare_groceries
from intake.dataset_file import load_dataset
from intake.validation import ValidatedData, validate_dataset
from serving.wishes.reading import read_clause
from tests.serving.wishes.wordings import wording_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "groceries"
# git-ignored: the wheels are downloaded once per checkout
CACHE = ROOT / ".fusion" / "downloads"


@pytest.fixture(scope="module")
def groceries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groceries")
    (folder / "dataset.toml").write_bytes((EXAMPLE / "dataset.toml").read_bytes())
    prepare_groceries(folder / "data", cache=CACHE)
    return folder


@pytest.fixture(scope="module")
def data(groceries: Path) -> Iterator[ValidatedData]:
    yield validate_dataset(load_dataset(groceries / "dataset.toml"), groceries / "rejects")


def test_the_sample_is_whole_and_clean(data: ValidatedData) -> None:
    assert data.report.read == {"items": 1800, "users": 128, "interactions": 118_394}
    assert not any(data.report.rejects.values())
    assert data.report.users_without_profile == 347 - 128
    assert all(data.interactions["positive"].to_pylist())


def test_most_purchases_are_repeats(data: ValidatedData) -> None:
    events = pl.DataFrame(data.interactions)
    assert 1 - events.select("user_id", "item_id").n_unique() / len(events) > 0.5
    assert events.n_unique(["user_id", "item_id", "event_timestamp"]) == len(events)


def test_products_are_named_in_words(groceries: Path) -> None:
    items = pl.read_parquet(groceries / "data" / "items.parquet")
    apples = items.filter(pl.col("item_id") == "1000237").row(0, named=True)
    assert (apples["title"], apples["size"]) == ("Blends, 10 oz", "10 oz")
    assert (apples["department"], apples["category"]) == ("Produce", "Salad mix")
    assert items["title"].null_count() == items["department"].null_count() == 0


@pytest.mark.parametrize(("named", "word"), [("bread", "bread"), ("dairy", "dairy")])
def test_a_query_names_products(data: ValidatedData, named: str, word: str) -> None:
    items = pl.DataFrame(data.items)
    found = wording_of(data.items, load_dataset(EXAMPLE / "dataset.toml"))
    (mention,) = read_clause(f"{named} for the weekend", found).mentions
    told = pl.concat_str("department", "category", "type", separator=" ", ignore_nulls=True)
    having = items.with_row_index().filter(told.str.to_lowercase().str.contains(rf"\b{word}s?\b"))
    assert set(having["index"]) <= set(mention.rows.tolist())
    assert len(mention.rows) <= 1.1 * len(having)  # "breaded" too


def test_the_same_files_every_time(groceries: Path, tmp_path: Path) -> None:
    prepare_groceries(tmp_path, cache=CACHE)
    for path in tmp_path.glob("*.parquet"):
        assert path.read_bytes() == (groceries / "data" / path.name).read_bytes()
