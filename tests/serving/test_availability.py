"""Items that are hidden, not yet there or gone are in no answer; who names one has it ranked."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from serving.answers import OVERLOADED, Recommendations
from serving.full_refresh import rewrite_online
from tests.applying import apply_here
from tests.conftest import Project, open_project
from tests.serving.http.service_process import copy_project
from tests.serving.recommending import Bench, open_bench

NOW = datetime(2025, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# By film: from, until, hidden, and whether it is there at NOW.
SAID: dict[str, tuple[datetime | None, datetime | None, bool | None, bool]] = {
    "f10": (NOW, None, None, True),
    "f11": (NOW + HOUR, None, False, False),
    "f12": (None, NOW, None, False),
    "f13": (None, NOW + HOUR, None, True),
    "f14": (None, None, True, False),
    "f15": (NOW - HOUR, NOW + HOUR, False, True),
}
ABSENT = {film for film, (*_, is_there) in SAID.items() if not is_there}


@pytest.fixture(scope="module")
def films_on_sale(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The films with columns of availability, prepared again."""
    folder = tmp_path_factory.mktemp("on-sale")
    copied = copy_project(films, folder / "home", folder / "data")
    path = copied.workspace.dataset.path
    declared = 'available_from = "starts"\navailable_until = "ends"\nhidden = "withdrawn"\n'
    path.write_text(re.sub(r"(?m)^\[users\]", f"{declared}[users]", path.read_text()))
    items = pl.read_parquet(path.parent / "items.parquet")
    said = [SAID.get(film, (None, None, None, True)) for film in items["item_id"]]
    items.with_columns(
        starts=pl.Series([each[0] for each in said], dtype=pl.Datetime("us", "UTC")),
        ends=pl.Series([each[1] for each in said], dtype=pl.Datetime("us", "UTC")),
        withdrawn=pl.Series([each[2] for each in said], dtype=pl.Boolean),
    ).write_parquet(path.parent / "items.parquet")
    project = open_project(path, folder / "home")
    project.here("prepare")
    apply_here(project.workspace)
    return project


@pytest.fixture(scope="module")
def bench(films_on_sale: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("available") / "redis"
    with open_bench(films_on_sale.workspace, folder, clock=lambda: NOW) as opened:
        yield opened


def _ids(answer: Recommendations) -> set[str]:
    return {item.item_id for item in answer.items}


def test_what_is_not_there_now_is_in_no_answer(bench: Bench) -> None:
    recommender, everything = bench.recommender, {f"f{at}" for at in range(80)}
    answer = recommender.recommend("nobody", 80)
    assert not answer.degraded
    assert everything - _ids(answer) == ABSENT
    assert everything - _ids(recommender.recommend("nobody", 80, query="a western")) == ABSENT
    assert everything - _ids(recommender.recommend_popular("nobody", 80, (), OVERLOADED)) == ABSENT
    near = {item.item_id for item in recommender.similar(item_id="f14", n=80)}
    assert everything - near == ABSENT
    assert (
        _ids(recommender.recommend("nobody", 80, filter="year <= 1964"))
        == {f"f{at}" for at in range(15) if at % 9} - ABSENT
    )
    assert "f14" in _ids(recommender.rank("nobody", ["f14", "f1"]))


def test_the_past_is_answered_by_what_was_there_then(bench: Bench) -> None:
    at = datetime(2024, 2, 1, tzinfo=UTC)
    answer = bench.recommender.as_of(at).recommend("nobody", 80)
    assert {f"f{at}" for at in range(80)} - _ids(answer) == {"f10", "f11", "f14", "f15"}


def test_it_is_no_feature_and_never_online(bench: Bench) -> None:
    features = bench.store.get_feature_view("item_profile").features
    assert {feature.name for feature in features} == {"title", "year", "genres"}
    assert rewrite_online(bench.store, NOW) > 80
    assert not bench.recommender.recommend("u3").degraded
