"""The recommender as a library: order, what is left out, reasons, outages, many callers at once."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feast_fusion.errors import (
    EncoderMismatchError,
    FeatureNotFoundError,
    SchemaError,
    StoreUnavailableError,
)
from intake.encoder_settings import MainEncoder
from intake.model_settings import RankerConfig
from serving.answers import (
    QUERY_NOT_ENCODED,
    STORE_INCOMPLETE,
    STORE_UNAVAILABLE,
    Reason,
    Recommendations,
)
from serving.candidates import Search
from serving.catalogue_watch import CatalogueWatch
from serving.live_users import LiveUsers
from serving.online_views import OnlineViews
from serving.query import read_query
from serving.ranking import Ordered, Ranking
from serving.recommender import Recommender
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench
from tests.trained import served
from tests.waiting import wait_until
from training.ranker.artifact import Artifact
from transformations.collaborative.histories import Histories
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.names import SERVICE


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("recommend") / "redis") as opened:
        yield opened


@pytest.fixture(scope="module")
def events(films: Project) -> pl.DataFrame:
    return pl.read_parquet(films.workspace.sources / "interactions.parquet")


def seen_by(user: str, events: pl.DataFrame) -> set[str]:
    return set(events.filter(pl.col("user_id") == user)["item_id"])


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


def test_recommendations_are_unseen_ranked_and_whole(bench: Bench, events: pl.DataFrame) -> None:
    answer = bench.recommender.recommend("u3", 10)
    assert (answer.user_id, answer.user, answer.degraded) == ("u3", "known", False)
    assert seen_by("u3", events).isdisjoint(ids(answer))
    assert ids(answer) == ids(bench.recommender.rank("u3", sorted(ids(answer))))
    assert all(item.sources and item.title and not item.cold for item in answer.items)
    assert answer.latency_ms > 0


def test_a_score_is_a_chance_only_where_nothing_else_moved_it(bench: Bench) -> None:
    recommend = bench.recommender.recommend
    assert recommend("u3").is_chance and bench.recommender.rank("u3", ["f1", "f2"]).is_chance
    assert recommend("u3", filter="year < 1980", variety={"diversity": 0.5}).is_chance
    assert not recommend("u3", query="a Western").is_chance
    assert not recommend("u3", objective={"satisfaction": 1.0}).is_chance
    assert not bench.recommender.recommend_popular("u3", 5, [], "busy").is_chance
    chances = sum(item.score for item in recommend("u3", 80).items)
    assert chances == pytest.approx(1, abs=1e-4), "of all that were ranked one is chosen"


def test_explained_items_have_the_columns_that_tell_them_apart(
    bench: Bench, films: Project
) -> None:
    table = pl.read_parquet(films.workspace.dataset.folder / "items.parquet")
    known = {row["item_id"]: row for row in table.to_dicts()}
    answer = bench.recommender.recommend("u3", 80, explain=True)
    for item in answer.items:
        row = known[item.item_id]
        year = {} if row["year"] is None else {"year": row["year"]}
        assert item.columns == {**year, "genres": row["genres"]}
    assert all(item.columns is None for item in bench.recommender.recommend("u3").items)
    (unknown,) = bench.recommender.rank("u3", ["none"], explain=True).items
    assert unknown.columns == {}


def test_fewer_come_back_only_when_all_others_were_seen(bench: Bench, events: pl.DataFrame) -> None:
    seen = seen_by("u3", events)
    left = {f"f{i}" for i in range(80)} - seen
    answer = bench.recommender.recommend("u3", 1000)
    assert set(ids(answer)) == left
    assert answer.n_candidates == len(left)
    first = ids(answer)[:4]
    assert not set(first) & set(ids(bench.recommender.recommend("u3", 1000, exclude=first)))
    assert bench.recommender.recommend("u3", 5, exclude=left).items == []


def test_items_acted_on_since_the_last_prepare_are_seen(
    films: Project, tmp_path: Path, events: pl.DataFrame
) -> None:
    new = next(f"f{i}" for i in range(80) if f"f{i}" not in seen_by("u3", events))
    live = {"u3": {new, "unknown item"}}
    options = {"live": LiveUsers(acted_on=lambda user_id: live.get(user_id, set()))}
    with open_bench(films.workspace, tmp_path / "redis", **options) as bench:
        assert new in ids(bench.recommender.recommend("stranger", 80))
        assert new not in ids(bench.recommender.recommend("u3", 80))
        bench.write_user("late", ["f2", "f4"])
        assert not {"f2", "f4"} & set(ids(bench.recommender.recommend("late", 80)))


def test_answers_are_flagged_while_any_row_may_be_older(films: Project, tmp_path: Path) -> None:
    is_behind = [True]
    options = {"live": LiveUsers(is_behind=lambda: is_behind[-1])}
    with open_bench(films.workspace, tmp_path / "redis", **options) as bench:
        for answer in (bench.recommender.recommend("u3"), bench.recommender.rank("u3", ["f1"])):
            assert answer.reasons == (STORE_INCOMPLETE,)
        is_behind.append(False)
        assert not bench.recommender.recommend("u3").degraded


def test_what_left_with_a_user_is_missed_and_asked_for(films: Project, tmp_path: Path) -> None:
    noted: list[tuple[str, bool]] = []
    live = LiveUsers(note_loss=lambda user_id, has_left: noted.append((user_id, has_left)))
    with open_bench(films.workspace, tmp_path / "redis", live=live) as bench:
        for user_id in ("stays", "leaves"):
            bench.write_user(user_id, ["f2", "f4"])
        views = ["user_recent", "user_stats", f"user_interest__{bench.features.encoder_id}"]
        OnlineViews(bench.store).mark_left(views, ["leaves", "nobody"])
        recommender = bench.recommender
        for user_id, said in (("stays", ()), ("nobody", ()), ("leaves", (STORE_INCOMPLETE,))):
            for answer in (recommender.recommend(user_id), recommender.rank(user_id, ["f1"])):
                assert answer.reasons == said
        assert noted == [("leaves", True)] * 2
        assert bench.features.read_user("nobody").since("user_recent") == -1
        bench.write_user("leaves", ["f2", "f4"])
        assert not recommender.recommend("leaves").degraded


def test_scores_are_the_choosers(bench: Bench, films: Project) -> None:
    """Every step again from its parts: signals, logits, the query, shares."""
    given = [f"f{i}" for i in range(0, 80, 3)]
    answer = bench.recommender.rank("u5", given, query="a Western")
    catalogue, user = bench.catalogue, bench.features.read_user("u5")
    history = Histories.of(bench.features.user_row(user, datetime.now(UTC)), catalogue.items)
    allowed = np.ones(len(catalogue), dtype=bool)
    allowed[catalogue.seen.of("u5")] = False
    signals = catalogue.scorer.signals.read(history, allowed[None])
    at = catalogue.items.codes(given)
    logits = catalogue.scorer.choose(signals[:, :, at], history)[0].astype(np.float64)
    liked = served(films.workspace).score(bench.rows(user, given))
    logits += RankerConfig().satisfaction * np.log(liked / (1 - liked.astype(np.float64)))
    query = read_query(catalogue, bench.recommender.embedder, "a Western")
    assert query is not None
    logits += logits.std() * query.likeness[at]
    expected = np.exp(logits) / np.exp(logits).sum()
    by_id = {item.item_id: item for item in answer.items}
    found = [by_id[item_id].score for item_id in given]
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    in_order = [expected[given.index(item_id)] for item_id in ids(answer)]
    assert np.all(np.diff(in_order) <= 1e-7)
    np.testing.assert_allclose([by_id[item_id].liked for item_id in given], liked, atol=1e-4)


def test_the_objective_weighs_choices_satisfaction_and_value(bench: Bench, films: Project) -> None:
    artifact = served(films.workspace)
    given = [f"f{i}" for i in range(0, 80, 2)]
    now = datetime.now(UTC)
    slate = bench.recommender._slates.read("u5", given, now)
    search = Search.of(bench.catalogue, slate.user_row, [], None)
    candidates = search.named(given)

    def first(**weights: float) -> Ordered:
        ranking = Ranking(artifact, RankerConfig(**weights))
        return ranking.order(bench.catalogue, candidates, slate)

    alone = first(satisfaction=0.0)
    liked, value = first(satisfaction=1e4), first(value=1e4)
    assert np.all(np.diff(liked.liked[liked.order]) <= 1e-6)
    events = pl.read_parquet(films.workspace.sources / "interactions.parquet")
    means = dict(events.group_by("item_id").agg(pl.col("value").mean()).iter_rows())
    in_order = [means[given[place]] for place in value.order]
    assert in_order == sorted(in_order, reverse=True)
    little = first(satisfaction=1e-9, value=1e-9)
    assert little.order.tolist() == alone.order.tolist() != value.order.tolist()


def test_repeated_items_are_ranked_once_and_none_at_all_is_an_answer(bench: Bench) -> None:
    answer = bench.recommender.rank("u1", ["f1", "f2", "f1"])
    assert (sorted(ids(answer)), answer.n_candidates) == (["f1", "f2"], 2)
    assert bench.recommender.rank("u1", []).items == []


def reasons_of(kind: str, reasons: tuple[Reason, ...]) -> list[Reason]:
    return [reason for reason in reasons if reason.kind == kind]


def test_the_one_liked_film_is_the_reason_named(bench: Bench) -> None:
    bench.write_user("admirer", ["f12"])
    answer = bench.recommender.recommend("admirer", 79, explain=True)
    named = [reasons_of("liked", item.reasons) for item in answer.items]
    assert len(named) == 79
    assert 2 <= sum(map(len, named)) < 20, "films like it have this reason, others have not"
    near = {
        item.item_id: found[0] for item, found in zip(answer.items, named, strict=True) if found
    }
    liked = bench.catalogue.vector("f12")
    assert liked is not None
    for item_id, reason in near.items():
        vector = bench.catalogue.vector(item_id)
        assert vector is not None
        assert reason.item_id == "f12"
        assert reason.text == "because you liked Film number 12"
        assert reason.value == pytest.approx(float(vector @ liked), abs=1e-5)
    own = bench.recommender.rank("admirer", ["f12"], explain=True)
    assert reasons_of("liked", own.items[0].reasons) == [], "no film is its own reason"
    others = [bench.catalogue.vector(i) for i in ids(answer) if i not in near]
    assert max(float(v @ liked) for v in others if v is not None) < min(
        reason.value or 0 for reason in near.values()
    )


def test_reasons_say_sources_signals_and_facts(bench: Bench, events: pl.DataFrame) -> None:
    answer = bench.recommender.recommend("u7", 5, query="Horror", debug=True)
    counts = dict(events.group_by("item_id").len().iter_rows())
    for item in answer.items:
        assert len(reasons_of("source", item.reasons)) == len(item.sources)
        assert len(reasons_of("signal", item.reasons)) == len(bench.catalogue.scorer.names)
        (fact,) = reasons_of("fact", item.reasons)
        assert f"{counts[item.item_id]} events" in fact.text
    assert all(item.reasons == () for item in bench.recommender.recommend("u7", 5).items)
    assert ids(answer) == ids(bench.recommender.recommend("u7", 5, query="Horror"))


def test_a_signal_contributes_what_its_absence_costs(bench: Bench) -> None:
    answer = bench.recommender.recommend("u1", 5, debug=True)
    catalogue, user = bench.catalogue, bench.features.read_user("u1")
    history = Histories.of(bench.features.user_row(user, datetime.now(UTC)), catalogue.items)
    allowed = np.ones(len(catalogue), dtype=bool)
    allowed[catalogue.seen.of("u1")] = False
    signals = catalogue.scorer.signals.read(history, allowed[None])
    at = catalogue.items.codes(ids(answer))
    whole = catalogue.scorer.choose(signals[:, :, at], history)[0]
    hidden = signals[:, :, at].copy()
    hidden[:, catalogue.scorer.names.index("sequence")] = 0
    costs = whole - catalogue.scorer.choose(hidden, history)[0]
    for item, cost in zip(answer.items, costs, strict=True):
        (reason,) = [r for r in reasons_of("signal", item.reasons) if "in that order" in r.text]
        assert reason.value == pytest.approx(float(cost), abs=1e-3)


def test_similar_items_are_the_nearest(bench: Bench) -> None:
    found = bench.recommender.similar(item_id="f7", n=5)
    vector = bench.catalogue.vector("f7")
    assert vector is not None
    cosines = bench.catalogue.index.vectors @ vector
    cosines[bench.catalogue.items.code("f7")] = -1
    best = np.sort(cosines)[::-1][:5]
    np.testing.assert_allclose([item.cosine for item in found], best, atol=1e-5)
    assert [item.title for item in found] == [bench.catalogue.title(i.item_id) for i in found]
    by_text = bench.recommender.similar(text="Film number 7 (1957). Genres: Comedy", n=3)
    assert "f7" in [item.item_id for item in by_text]
    assert len(bench.recommender.similar(text="anything", n=1000)) == 80


def test_similar_refuses_what_it_cannot_compare(bench: Bench) -> None:
    with pytest.raises(FeatureNotFoundError, match="no such item"):
        bench.recommender.similar(item_id="?")
    with pytest.raises(SchemaError, match="neither"):
        bench.recommender.similar()
    with pytest.raises(SchemaError, match="both"):
        bench.recommender.similar(item_id="f1", text="x")
    with pytest.raises(FeatureNotFoundError, match="text: got one that is empty"):
        bench.recommender.similar(text="<br> \u200b")


def test_an_encoder_that_fails_is_done_without_and_said(bench: Bench, films: Project) -> None:
    features, workspace = bench.features, films.workspace
    settings = {"encoder": MainEncoder(max_tokens=17)}
    other = identify(workspace.dataset.model_copy(update=settings)).encoder_id
    artifact = served(workspace)
    with watching(bench, artifact) as watch:
        recommender = Recommender(
            features,
            artifact,
            watch,
            Embedder(workspace, other),
            bench.recommender.as_of,
        )
        answer = recommender.recommend("u2", 5, query="anything")
        assert (answer.degraded, answer.reasons) == (True, (QUERY_NOT_ENCODED,))
        assert ids(answer) == ids(bench.recommender.recommend("u2", 5))
        assert recommender.rank("u2", ["f1"], query="anything").reasons == (QUERY_NOT_ENCODED,)
        with pytest.raises(EncoderMismatchError):
            recommender.similar(text="anything")


def test_users_who_are_answered_together_get_what_each_gets(
    bench: Bench, events: pl.DataFrame
) -> None:
    users = [*events["user_id"].unique().sort()[:40], "nobody", "u3"]
    together = list(bench.recommender.recommend_each(users, 5, filter="year < 1995"))
    assert [answer.user_id for answer in together] == users
    for answer in together:
        alone = bench.recommender.recommend(answer.user_id, 5, filter="year < 1995")
        assert (answer.user, answer.n_candidates) == (alone.user, alone.n_candidates)
        scores = [[item.score for item in each.items] for each in (answer, alone)]
        np.testing.assert_allclose(*scores, rtol=1e-4)
        ties = np.isclose(*np.array([scores[1][1:], scores[1][:-1]]), rtol=1e-4)
        assert ids(answer) == ids(alone) or ties.any()


def test_many_callers_at_once_get_what_one_gets(bench: Bench) -> None:
    users = [f"u{i}" for i in range(12)]
    alone = {user: bench.recommender.recommend(user, 5, query="Drama").items for user in users}
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda u: bench.recommender.recommend(u, 5, query="Drama").items, users * 3)
        )
    for user, items in zip(users * 3, found, strict=True):
        assert [item.item_id for item in items] == [item.item_id for item in alone[user]]


def test_an_outage_is_answered_by_popularity_and_ends_by_itself(
    films: Project, tmp_path: Path, events: pl.DataFrame
) -> None:
    with open_bench(films.workspace, tmp_path / "redis", is_patient=False) as bench:
        wait_until(lambda: not bench.recommender.recommend("u3", 10).degraded)
        os.kill(bench.redis.pid, signal.SIGSTOP)
        try:
            check_outage(bench, events)
        finally:
            os.kill(bench.redis.pid, signal.SIGCONT)
        wait_until(lambda: not bench.recommender.recommend("u3", 10).degraded)
        wait_until(lambda: not bench.recommender.rank("u3", ["f1"]).degraded)
        bench.recommender.check()


def check_outage(bench: Bench, events: pl.DataFrame) -> None:
    recommender = bench.recommender
    started = time.monotonic()
    answer = recommender.recommend("u3", 10)
    assert time.monotonic() - started < 20, "the store's deadline is a quarter of a second"
    assert (answer.degraded, answer.reasons) == (True, (STORE_UNAVAILABLE,))
    assert answer.user == "known", "the prepared history knows the user"
    seen = seen_by("u3", events)
    assert ids(answer) == [i for i in bench.catalogue.item_ids if i not in seen][:10]
    assert [item.score for item in answer.items] == sorted(
        (item.score for item in answer.items), reverse=True
    )
    unknown = recommender.recommend("stranger", 3, explain=True)
    assert (unknown.user, unknown.degraded) == ("unknown", True)
    assert [reasons_of("source", item.reasons)[0].text for item in unknown.items] == ["popular"] * 3
    given = ["?", *bench.catalogue.item_ids[5::-1]]
    ranked = recommender.rank("u3", given)
    assert ids(ranked) == given[::-1]
    assert (ranked.degraded, ranked.items[-1].features) == (True, "none")
    with pytest.raises(StoreUnavailableError):
        recommender.check()


def test_a_query_is_answered_during_an_outage(films: Project, tmp_path: Path) -> None:
    items = pl.read_parquet(films.workspace.sources / "items.parquet")
    horror = set(items.filter(pl.col("genres").list.contains("Horror"))["item_id"])
    with open_bench(films.workspace, tmp_path / "redis") as bench:
        bench.recommender.similar(text="loads the model")
        os.kill(bench.redis.pid, signal.SIGSTOP)  # one that is killed is soon started again
        try:
            answer = bench.recommender.recommend("stranger", 10, query="Horror")
        finally:
            os.kill(bench.redis.pid, signal.SIGCONT)
    assert answer.reasons == (STORE_UNAVAILABLE,)
    assert set(ids(answer)) <= horror
    assert [each.value for each in answer.understood] == ["Horror"]


def watching(bench: Bench, artifact: Artifact) -> CatalogueWatch:
    model = artifact.require_next_item()
    return CatalogueWatch(
        bench.workspace, bench.store, SERVICE, model, clock=lambda: datetime.now(UTC)
    )


def test_closing_stops_the_thread(bench: Bench, films: Project) -> None:
    before = threading.active_count()
    with watching(bench, served(films.workspace)):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
