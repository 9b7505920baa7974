"""Users and items of whom little is known: each case has a defined answer, and says which it is."""

from collections.abc import Iterator, Sequence

import polars as pl
import pytest

from serving.answers import RankedItem, Recommendations
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench

GENRE = "Science fiction"


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("cold") / "redis") as opened:
        yield opened


@pytest.fixture(scope="module")
def genre(films: Project) -> list[str]:
    """The science fiction films."""
    items = pl.read_parquet(films.workspace.sources / "items.parquet")
    return items.filter(pl.col("genres").list.contains(GENRE))["item_id"].sort().to_list()


def share(items: Sequence[RankedItem] | Sequence[str], genre: list[str]) -> int:
    ids = [item if isinstance(item, str) else item.item_id for item in items]
    return len(set(ids) & set(genre))


def assert_sensible(answer: Recommendations, n: int) -> None:
    assert len(answer.items) == len({item.item_id for item in answer.items}) == n
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert all(item.title for item in answer.items)
    assert (answer.degraded, answer.reasons) == (False, ())


def test_an_unknown_user_gets_popular_and_fresh_items_ranked(bench: Bench) -> None:
    answer = bench.recommender.recommend("stranger", 10)
    assert_sensible(answer, 10)
    assert answer.user == "unknown"
    assert all(item.sources for item in answer.items)
    another = bench.recommender.recommend("another stranger", 10)
    assert [i.item_id for i in answer.items] == [i.item_id for i in another.items]


def test_an_unknown_user_with_a_query_gets_what_it_asks_for(bench: Bench, genre: list[str]) -> None:
    answer = bench.recommender.recommend("stranger", 10, query=GENRE)
    assert_sensible(answer, 10)
    assert answer.user == "unknown"
    assert any("query" in item.sources for item in answer.items)
    assert share(answer.items, genre) > share(bench.catalogue.item_ids[:10], genre)
    assert share(answer.items, genre) > share(
        bench.recommender.recommend("stranger", 10).items, genre
    )


def test_a_query_also_moves_the_answer_to_a_known_user(bench: Bench, genre: list[str]) -> None:
    without = bench.recommender.recommend("u0", 10)
    answer = bench.recommender.recommend("u0", 10, query=GENRE)
    assert (without.user, answer.user) == ("known", "known")
    assert share(answer.items, genre) > share(without.items, genre)


def test_a_blank_query_is_none(bench: Bench) -> None:
    blank, without = (bench.recommender.recommend("u0", 5, query=q) for q in (" \n", None))
    assert [i.item_id for i in blank.items] == [i.item_id for i in without.items]


def test_a_user_with_a_profile_only_is_ranked_with_it(bench: Bench) -> None:
    bench.write("user_profile", user_id="newcomer", age=61, gender="F")
    answer = bench.recommender.recommend("newcomer", 10)
    assert_sensible(answer, 10)
    assert answer.user == "profile_only"
    stranger = bench.recommender.recommend("stranger", 10)
    assert [item.score for item in answer.items] != [item.score for item in stranger.items]


def test_three_liked_films_of_a_genre_bring_more_of_it(bench: Bench, genre: list[str]) -> None:
    bench.write_user("fan", genre[:3])
    answer = bench.recommender.recommend("fan", 10)
    assert_sensible(answer, 10)
    assert answer.user == "known"
    assert not {item.item_id for item in answer.items} & set(genre[:3])
    assert share(answer.items, genre) > share(bench.catalogue.item_ids[:10], genre)


def test_an_item_with_text_only_is_ranked_and_flagged(bench: Bench) -> None:
    bench.write("item_profile", item_id="untried", title="Film number 5", year=1955, genres=[GENRE])
    vector = bench.catalogue.vector("f5")
    assert vector is not None
    view = f"item_embedding__{bench.features.encoder_id}"
    bench.write(view, item_id="untried", item_embedding=vector.tolist())
    ranked = bench.recommender.rank("u0", ["f1", "untried", "f2"])
    untried = next(item for item in ranked.items if item.item_id == "untried")
    assert (untried.features, untried.cold) == ("text_only", True)
    assert 0 < untried.score < 1
    assert [item.cold for item in ranked.items if item.item_id != "untried"] == [False, False]


@pytest.mark.parametrize("user", ["u0", "stranger"])
@pytest.mark.parametrize("query", [None, GENRE])
def test_an_item_without_any_feature_comes_last(bench: Bench, user: str, query: str | None) -> None:
    given = ["nothing", *bench.catalogue.item_ids[:20], "nowhere"]
    ranked = bench.recommender.rank(user, given, query=query)
    assert {item.item_id for item in ranked.items[-2:]} == {"nothing", "nowhere"}
    assert all((i.features, i.cold, i.title) == ("none", True, None) for i in ranked.items[-2:])
    assert all(item.features == "full" for item in ranked.items[:-2])
    scores = [item.score for item in ranked.items]
    assert scores == sorted(scores, reverse=True)


def test_items_without_any_feature_alone_are_ranked_too(bench: Bench) -> None:
    ranked = bench.recommender.rank("u0", ["nothing", "nowhere"])
    assert {item.item_id for item in ranked.items} == {"nothing", "nowhere"}
    assert all(0 < item.score < 1 for item in ranked.items)


def test_encoder_settings_of_the_project_are_the_ones_of_its_vectors(bench: Bench) -> None:
    """The vector of a text that an item was made of is the item's vector."""
    text = "Film number 7 (1957). Genres: Comedy, Science fiction."
    vectors, _ = bench.recommender.embedder.queries([text])
    expected = bench.catalogue.vector("f7")
    assert expected is not None
    assert float(vectors[0] @ expected) > 0.999
