"""Answers under a filter are the others without what does not pass, in the same order."""

from collections.abc import Iterator
from random import Random

import polars as pl
import pytest

from serving.answers import OVERLOADED, Recommendations
from serving.filters.filter_text import FilterError
from tests.conftest import Project
from tests.serving.filters.random_filters import Drawn, Item, RandomFilters
from tests.serving.recommending import Bench, open_bench

ALL, QUERY = 80, "a western"
GENRES = ["Drama", "Comedy", "Science fiction", "Western", "Horror"]


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("filtered") / "redis") as opened:
        yield opened


@pytest.fixture(scope="module")
def films_by_id(films: Project) -> dict[str, Item]:
    path = films.workspace.dataset.folder / "items.parquet"
    return {row["item_id"]: row for row in pl.read_parquet(path).to_dicts()}


@pytest.fixture(scope="module")
def drawn() -> list[Drawn]:
    filters = RandomFilters(Random(5), {"year": range(1950, 2030, 7)}, {}, {"genres": GENRES})
    return [filters.draw() for _ in range(200)]


def _ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


def test_200_filters_give_what_brute_force_gives(
    bench: Bench, films_by_id: dict[str, Item], drawn: list[Drawn]
) -> None:
    recommender = bench.recommender
    orders = {user: _ids(recommender.recommend(user, ALL)) for user in ("u3", "u8", "nobody")}
    sizes = set()
    for at, one in enumerate(drawn):
        user = [*orders][at % 3]
        answer = recommender.recommend(user, ALL, filter=one.text)
        expected = [each for each in orders[user] if one.truth(films_by_id[each]) is True]
        assert _ids(answer) == expected, one.text
        assert not answer.degraded
        sizes.add(len(expected))
    assert min(sizes) == 0
    assert max(sizes) > 50


def test_the_first_n_under_a_filter_are_candidates_however_few_pass(
    bench: Bench, films_by_id: dict[str, Item]
) -> None:
    """With candidates for a few alone, a filter afterwards would leave none."""
    wanted = "year == 1951"
    (expected,) = [each for each, film in films_by_id.items() if film["year"] == 1951]
    assert _ids(bench.recommender.recommend("nobody", 1, filter=wanted)) == [expected]
    popular = bench.recommender.recommend_popular("nobody", 1, (), OVERLOADED, filter=wanted)
    assert (_ids(popular), popular.reasons) == ([expected], (OVERLOADED,))


def test_a_query_and_what_is_similar_obey_the_filter(
    bench: Bench, films_by_id: dict[str, Item], drawn: list[Drawn]
) -> None:
    near = [item.item_id for item in bench.recommender.similar(item_id="f3", n=ALL)]
    for one in drawn[:10]:
        passing = {each for each, film in films_by_id.items() if one.truth(film) is True}
        found = bench.recommender.similar(item_id="f3", n=ALL, filter=one.text)
        assert [item.item_id for item in found] == [each for each in near if each in passing]
        # the order depends on how the query's likeness spreads among the candidates
        answer = bench.recommender.recommend("nobody", ALL, query=QUERY, filter=one.text)
        assert {*_ids(answer)} == passing, one.text


def test_an_answer_of_the_past_obeys_the_filter(bench: Bench, films_by_id: dict[str, Item]) -> None:
    at = pl.read_parquet(bench.workspace.source("interactions"))["event_timestamp"].max()
    answer = bench.recommender.as_of(at).recommend("u3", ALL, filter="year < 1970")
    years = [films_by_id[each]["year"] for each in _ids(answer)]
    assert years
    assert max(years) < 1970


def test_a_wrong_filter_is_refused(bench: Bench) -> None:
    recommender, wrong = bench.recommender, "price < 3"
    with pytest.raises(FilterError, match="one of year, genres"):
        recommender.recommend("u3", filter=wrong)
    with pytest.raises(FilterError, match="one of year, genres"):
        recommender.recommend_popular("u3", 5, (), OVERLOADED, filter=wrong)
    with pytest.raises(FilterError, match="one of year, genres"):
        recommender.similar(item_id="f3", filter=wrong)
