"""Baselines find what is planted, and see nothing of the part that is measured but its history."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.baselines import BASELINES, POPULARITY, REPEATS
from evaluation.contest import contestants, hold_contest
from evaluation.protocol import Queries, next_positives, rank_by_scores
from intake.split_settings import SplitConfig
from tests.evaluation.logs import make_events, random_events, two_tastes
from transformations.collaborative.histories import take_events


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On small batches, beside other work, threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


EVERY = BASELINES | REPEATS
LEARNING = [name for name in BASELINES if name != POPULARITY]


@pytest.mark.parametrize("name", LEARNING)
def test_what_people_of_one_taste_choose_is_found(name: str) -> None:
    events = two_tastes()
    queries = next_positives(events, limit=None)
    assert len(queries) == 120
    score = BASELINES[name](events, queries.n_fitted, 0)(queries)
    ours = np.arange(24)[None, :] % 2 == queries.user[:, None] % 2
    of_taste = np.where(queries.rankable & ours, score, np.nan)
    of_other = np.where(queries.rankable & ~ours, score, np.nan)
    assert (np.nanmean(of_taste, axis=1) > np.nanmean(of_other, axis=1)).mean() > 0.9


@pytest.mark.parametrize("name", EVERY)
def test_nothing_from_the_instant_on_is_read(name: str) -> None:
    events = random_events(n_events=300)
    rows = next_positives(events, repeats=True).rows[:8]
    cut = int(np.searchsorted(events.time, events.time[rows[0]]))
    last = rows[events.time[rows] == events.time[rows[0]]]
    queries = Queries(events, last, np.arange(cut))
    mixed = np.random.default_rng(1).permutation(np.arange(cut, len(events)))
    later = np.concatenate([np.arange(cut), mixed])
    changed = replace(
        events,
        item=(events.item[later] + (np.arange(len(events)) >= cut)) % len(events.items),
        positive=events.positive[later],
    )
    other = Queries(changed, last, np.arange(cut))
    np.testing.assert_array_equal(
        EVERY[name](events, cut, 0)(queries), EVERY[name](changed, cut, 0)(other)
    )


def test_popularity_counts_positives_before_the_instant() -> None:
    events = random_events(2)
    queries = next_positives(events, repeats=True)
    score = BASELINES[POPULARITY](events, queries.n_fitted, 0)
    found = np.concatenate([score(batch) for batch in queries.batches()])
    for n, row in enumerate(queries.rows.tolist()):
        expected = [
            sum(
                bool(events.positive[k]) and events.time[k] < events.time[row]
                for k in np.flatnonzero(events.item == item)
            )
            for item in range(len(events.items))
        ]
        assert found[n].tolist() == expected


def test_own_items_come_by_how_often_and_by_how_lately() -> None:
    # user 0 chose 1, 1, 2 and then 3; user 1 made 4 popular
    rows = [(0, 0, 1, True), (1, 0, 1, True), (2, 0, 2, True), (3, 0, 3, True)]
    rows += [(4, 1, 4, True), (5, 1, 4, True), (6, 0, 0, True)]
    events = make_events(rows, 2, 6)
    queries = Queries(events, np.array([6]), np.arange(6), repeats=True)
    counted = rank_by_scores(queries, REPEATS["own items, counted"](events, 6, 0))
    assert counted.top[0, :4].tolist() == [1, 2, 3, 4]
    lately = rank_by_scores(queries, REPEATS["own items, newest first"](events, 6, 0))
    assert lately.top[0, :4].tolist() == [1, 3, 2, 4]  # 1/sqrt(4) + 1/sqrt(3), 1, 1/sqrt(2)


def test_a_contest_asks_all_the_same_queries() -> None:
    events = random_events(n_events=900)
    asked: list[Queries] = []

    def perfect(queries: Queries) -> object:
        asked.append(queries)
        return rank_by_scores(queries, lambda batch: np.eye(len(events.items))[batch.target])

    steps: list[tuple[str, int, int]] = []
    contest = hold_contest(
        events,
        {"ours": perfect},  # type: ignore[dict-item]
        repeats=True,
        limit=40,
        progress=lambda *step: steps.append(step),
    )
    found = contest.section
    assert [each.name for each in found.contenders] == ["ours", POPULARITY]
    assert found.n_queries == len(contest.ranks) == len(asked[0]) == 40
    assert found.ratio is not None and found.ratio.best_baseline == POPULARITY
    ours, popularity = found.contenders
    assert ours.ndcg.mean == ours.recall[200] > 0.8  # a few were chosen before they were known
    assert found.ratio.ratio.mean == pytest.approx(ours.ndcg.mean / popularity.ndcg.mean)  # type: ignore[operator]
    assert steps == [("ours", 0, 2), (POPULARITY, 1, 2), ("measures", 2, 2)]
    assert contest.ranks["user_id"].to_pylist() == asked[0].table()["user_id"].to_pylist()


def test_what_needs_repeats_is_asked_only_where_there_are_some() -> None:
    assert list(contestants(False, True)) == [POPULARITY]
    assert {*contestants(True, True)} - {*contestants(True, False)} == {*REPEATS}


def test_every_baseline_answers_each_users_last_choice() -> None:
    events, how = random_events(n_events=200), SplitConfig(by="leave_one_out")
    queries = next_positives(events, repeats=True, limit=None, how=how)
    assert queries.log is queries.fitted and len(queries) > 5
    for fit in EVERY.values():
        ranked = rank_by_scores(queries, fit(queries.log, queries.n_fitted, 0))
        is_known = queries.rankable[np.arange(len(queries)), queries.target]
        assert ((ranked.rank > 0) == is_known).all()


def test_popularity_of_fewer_events_counts_these() -> None:
    events = random_events(2)
    queries = next_positives(events, repeats=True)
    fewer = take_events(events, np.arange(len(events) // 2, len(events)))
    counted = BASELINES[POPULARITY](fewer, 1, 0)(queries)
    for at, now in enumerate(queries.time):
        liked = fewer.item[(fewer.time < now) & fewer.positive]
        np.testing.assert_array_equal(counted[at], np.bincount(liked, minlength=len(events.items)))
