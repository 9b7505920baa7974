"""Queries of whole answers: what is named comes, taste decides among it, and it says why."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.encoder_settings import MainEncoder
from serving.answers import OVERLOADED, QUERY_NOT_ENCODED, Recommendations, Understood
from serving.query import Query, read_query
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench
from transformations.declared_encoders import identify
from transformations.embedder import Embedder

GENRES = ("Drama", "Comedy", "Science fiction", "Western", "Horror")
USERS = ("u0", "u4", "u11", "nobody")  # the first two like other genres


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("query") / "redis") as opened:
        yield opened


@pytest.fixture(scope="module")
def genres(films: Project) -> dict[str, set[str]]:
    items = pl.read_parquet(films.workspace.source("items"))
    return {row["item_id"]: {*row["genres"]} for row in items.iter_rows(named=True)}


@pytest.fixture(scope="module")
def unencoded(films: Project) -> Embedder:
    """An embedder whose encoder is away."""
    settings = {"encoder": MainEncoder(max_tokens=17)}
    other = identify(films.workspace.dataset.model_copy(update=settings)).encoder_id
    return Embedder(films.workspace, other)


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("genre", GENRES)
def test_the_genre_that_is_named_comes(
    bench: Bench, genres: dict[str, set[str]], genre: str, user: str
) -> None:
    """Of a genre that has fewer unseen films than places, all; then others."""
    every = ids(bench.recommender.recommend(user, 80, filter=f"genres == '{genre}'"))
    answer = bench.recommender.recommend(user, 10, query=f"a {genre.lower()} film")
    having = [genre in genres[each] for each in ids(answer)]
    assert sum(having) == min(10, len(every))
    assert having == sorted(having, reverse=True)
    assert answer.understood == (Understood("genres", genre, "wanted", "name"),)


def test_among_what_is_named_taste_decides(bench: Bench) -> None:
    named = {user: ids(bench.recommender.recommend(user, 5, query="drama")) for user in USERS}
    liked = {
        user: ids(bench.recommender.recommend(user, 5, filter="genres == 'Drama'"))
        for user in USERS
    }
    assert named["u0"] != named["u4"]
    shared = [len({*named[user]} & {*liked[user]}) for user in USERS]
    assert sum(shared) >= 0.6 * 5 * len(USERS)


@pytest.mark.parametrize("query", ["no horror", "not scary", "anything except horror films"])
def test_what_is_refused_does_not_come(
    bench: Bench, genres: dict[str, set[str]], query: str
) -> None:
    answer = bench.recommender.recommend("u4", 10, query=query)  # who likes horror best
    liked = bench.recommender.recommend("u4", 10)
    assert sum("Horror" in genres[each] for each in ids(liked)) > 2
    assert not [each for each in ids(answer) if "Horror" in genres[each]]
    assert {(each.value, each.sense) for each in answer.understood} == {("Horror", "refused")}


def test_what_is_meant_comes_too(bench: Bench, genres: dict[str, set[str]]) -> None:
    answer = bench.recommender.recommend("u0", 10, query="something scary")
    assert sum("Horror" in genres[each] for each in ids(answer)) >= 8
    assert Understood("genres", "Horror", "wanted", "meaning") in answer.understood


def test_years_are_named(bench: Bench) -> None:
    answer = bench.recommender.recommend("nobody", 4, query="from the 1970s, but no drama")
    years = {f"f{at}": 1950 + at for at in range(80) if at % 9}
    assert all(1970 <= years[each] <= 1979 for each in ids(answer))
    assert answer.understood[0] == Understood("year", "1970 to 1979", "wanted", "name")


def test_an_encoder_that_is_away_leaves_names_and_words(bench: Bench, unencoded: Embedder) -> None:
    query = read_query(bench.catalogue, unencoded, "horror, not drama")
    assert query is not None and not query.is_whole
    assert [(each.value, each.sense) for each in query.understood] == [
        ("Horror", "wanted"),
        ("Drama", "refused"),
    ]
    assert len(np.unique(query.likeness)) == 3


@pytest.mark.parametrize("genre", GENRES)
def test_who_has_no_time_goes_by_the_words(
    bench: Bench, genres: dict[str, set[str]], genre: str
) -> None:
    recommender = bench.recommender
    answer = recommender.recommend_popular("nobody", 10, (), OVERLOADED, query=genre)
    assert answer.reasons == (QUERY_NOT_ENCODED, OVERLOADED)
    assert all(genre in genres[each] for each in ids(answer))
    given = [f"f{at}" for at in range(20)]
    ranked = ids(recommender.rank_by_popularity("nobody", given, OVERLOADED, genre))
    having = [genre in genres[each] for each in ranked]
    assert having == sorted(having, reverse=True)
    assert sorted(ranked) == sorted(given)


def test_an_answer_of_the_past_understands_too(bench: Bench, genres: dict[str, set[str]]) -> None:
    at = pl.read_parquet(bench.workspace.source("interactions"))["event_timestamp"].max()
    answer = bench.recommender.as_of(at).recommend("u3", 8, query="westerns")
    assert all("Western" in genres[each] for each in ids(answer))
    assert answer.understood == (Understood("genres", "Western", "wanted", "name"),)


@pytest.mark.parametrize("text", [None, "", " \n", "<br> \u200b", "...", "?!"])
def test_a_text_without_a_word_is_no_query(bench: Bench, text: str | None) -> None:
    assert read_query(bench.catalogue, bench.recommender.embedder, text) is None


ODD = (
    "not",
    "no no no",
    "the of a",
    "horror, no horror",
    "\U0001f3ac",
    "\u043d\u0435 \u0443\u0436\u0430\u0441\u044b",
    "\u6050\u6016\u7247",
    "x " * 2048,
)


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_are_answered(bench: Bench, text: str) -> None:
    answer = bench.recommender.recommend("u0", 10, query=text)
    assert len(answer.items) == 10
    assert not answer.degraded
    assert all(0 < item.score < 1 for item in answer.items)


def test_what_is_refused_and_wanted_is_refused(bench: Bench, genres: dict[str, set[str]]) -> None:
    answer = bench.recommender.recommend("u4", 10, query="horror, but not horror")
    assert not [each for each in ids(answer) if "Horror" in genres[each]]


@given(text=st.text(max_size=4096))
def test_any_text_has_a_finite_likeness(bench: Bench, unencoded: Embedder, text: str) -> None:
    query = read_query(bench.catalogue, unencoded, text)
    assert query is None or _is_sound(query, len(bench.catalogue))


def _is_sound(query: Query, n: int) -> bool:
    return query.likeness.shape == (n,) and bool(np.isfinite(query.likeness).all())
