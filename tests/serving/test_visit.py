"""Items of a visit count as events that were posted, for one answer, and are kept nowhere."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from cli.feast_repository import open_store
from cli.redis_process import RunningRedis
from cli.redis_url import connection_string
from feast_fusion.errors import SchemaError
from intake.journal_content import journal_keys
from serving.answers import OVERLOADED, Recommendations
from serving.http.library import Library, open_library
from serving.recommender import Recommender
from serving.visit import Visited
from tests.conftest import Project
from tests.serving.recommending import open_bench

ALL = 80
RATED = (("f3", 5.0), ("f21", 2.0), ("f40", 4.5), ("f8", 5.0))


@pytest.fixture
def recommender(library: Library) -> Recommender:
    return library[0].main


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


def visit(begin: datetime) -> list[Visited]:
    times = (begin + timedelta(minutes=at) for at in range(len(RATED)))
    timed = zip(RATED, times, strict=True)
    return [Visited(item, value=value, at=at) for (item, value), at in timed]


def post(library: Library, user_id: str, visited: Sequence[Visited]) -> None:
    events = [
        {"user_id": user_id, "item_id": one.item_id, "value": one.value, "event_timestamp": one.at}
        for one in visited
    ]
    taken = library[1].accept(events)
    assert {outcome.status for outcome in taken.outcomes} == {"accepted"}
    taken.applied.result(60)


@pytest.mark.parametrize("user_id", ["a visitor", "u5"])
def test_a_visit_counts_as_if_it_had_been_posted(
    library: Library,
    recommender: Recommender,
    served_films: Project,
    user_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a stranger, and on top of what an account has. The statistics of the items of the visit
    differ, which are not in the answer; the clock, which ages a history, stands still."""
    now = datetime.now(UTC)
    monkeypatch.setattr(recommender._requests, "_clock", lambda: now)
    visited = visit(now - timedelta(minutes=10))
    before = recommender.recommend(user_id, ALL)
    folder = served_films.workspace.events
    keys = [*journal_keys(folder)]
    told = recommender.recommend(user_id, ALL, session=visited)
    some = ids(told)[::7]
    ranked = recommender.rank(user_id, some, session=visited)
    popular = recommender.recommend_popular(user_id, ALL, (), OVERLOADED, session=visited)
    assert ids(recommender.recommend(user_id, ALL)) == ids(before)
    assert [*journal_keys(folder)] == keys
    post(library, user_id, visited)
    posted = recommender.recommend(user_id, ALL)
    assert (told.user, told.degraded, posted.degraded) == ("known", False, False)
    assert ids(told) == ids(posted) != ids(before)
    for one, other in zip(told.items, posted.items, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.liked == pytest.approx(other.liked, abs=1e-5)
    assert ids(ranked) == ids(recommender.rank(user_id, some))
    items = {one.item_id for one in visited}
    assert items.isdisjoint(ids(told)) and items.isdisjoint(ids(popular))


def test_a_bare_id_is_liked_and_an_unknown_one_counts_nothing(recommender: Recommender) -> None:
    first = recommender.recommend("bare", 20)
    assert ids(recommender.recommend("bare", 20, session=[Visited("no such film")])) == ids(first)
    liked = [Visited("f3", value=5.0), Visited("f8", value=5.0)]
    bare = [Visited("f3"), Visited("no such film"), Visited("f8")]
    one, other = (recommender.recommend("bare", 20, session=each) for each in (liked, bare))
    assert (one.user, other.user, first.user) == ("known", "known", "unknown")
    assert ids(other) != ids(first)
    overlap = {*ids(one)[:10]} & {*ids(other)[:10]}
    assert len(overlap) >= 7  # a rating says more than none


def test_reasons_and_the_newest_item_are_of_the_visit(recommender: Recommender) -> None:
    answers = [
        recommender.recommend("reasons", 40, session=[Visited(item)], explain=True)
        for item in ("f3", "f8")
    ]
    named = [
        {reason.item_id for item in answer.items for reason in item.reasons if reason.item_id}
        for answer in answers
    ]
    assert named[0] <= {"f3"} and named[1] <= {"f8"} and named[0] | named[1]


def test_scores_are_chances_that_are_never_certain_of_a_user_with_one_event(
    recommender: Recommender,
) -> None:
    one_event = [[Visited(f"f{item}", value=value)] for item in (0, 3, 31) for value in (1.0, 5.0)]
    for user_id, session in [("once", each) for each in one_event] + [("u3", []), ("u8", [])]:
        answer = recommender.recommend(user_id, ALL, session=session)
        scores = [item.score for item in answer.items]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=1e-3)  # all are ranked, and all come back
        assert 0 < scores[0] < 0.9


@pytest.fixture(scope="module")
def repeating(served_films: Project, films_redis: RunningRedis) -> Iterator[Library]:
    dataset = served_films.workspace.dataset
    candidates = dataset.candidates.model_copy(update={"repeats": True})
    changed = dataset.model_copy(update={"candidates": candidates})
    workspace = replace(served_films.workspace, dataset=changed)
    with open_library(workspace, open_store(workspace, connection_string(films_redis.url))) as made:
        yield made


def test_with_repeats_what_the_user_had_stays_wherever_it_was_had(
    repeating: Library, recommender: Recommender, served_films: Project
) -> None:
    """Prepared events, posted ones and a visit; in ranked and in popular answers."""
    log = pl.read_parquet(served_films.workspace.source("interactions"))
    visited = visit(datetime.now(UTC) - timedelta(minutes=5))
    post(repeating, "u9", [Visited("f33", value=5.0, at=datetime.now(UTC))])
    had = {*log.filter(pl.col("user_id") == "u9")["item_id"], "f33", *(v.item_id for v in visited)}
    both = [
        each(one)
        for one in (repeating[0].main, recommender)
        for each in (
            lambda one: one.recommend("u9", ALL, session=visited),
            lambda one: one.recommend_popular("u9", ALL, (), OVERLOADED, session=visited),
        )
    ]
    with_repeats, popular, without, popular_without = (set(ids(each)) for each in both)
    assert had <= with_repeats and had <= popular
    assert had.isdisjoint(without) and had.isdisjoint(popular_without)


def test_without_live_events_a_visit_is_refused(
    films: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    refused = pytest.raises(SchemaError, match="session: got items of a visit")
    with open_bench(films.workspace, tmp_path_factory.mktemp("alone") / "redis") as bench, refused:
        bench.recommender.recommend("u3", session=[Visited("f3")])
