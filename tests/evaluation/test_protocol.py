"""What is asked and what is ranked, against loops."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation.protocol import RANKS, Queries, next_positives, rank_by_scores
from intake.split_settings import SplitConfig
from tests.evaluation.logs import make_events, random_events
from tests.oracles.next_positive import rank_slowly
from transformations.collaborative.histories import Events


def rankable_slowly(events: Events, row: int, *, repeats: bool) -> set[str]:
    now = events.time[row]
    rows = [n for n in range(len(events)) if events.user[n] == events.user[row]]
    seen = {events.item[n] for n in rows if events.time[n] < now}
    known = [item for item in range(len(events.items)) if events.known_from[item] <= now]
    return {f"i{item:03}" for item in known if repeats or item not in seen}


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_queries_are_the_positives_of_a_part(part: str, repeats: bool) -> None:
    events = random_events()
    found = next_positives(events, part, repeats=repeats)  # type: ignore[arg-type]
    n_past = len(events) - len(events) // 10
    start, end = (n_past - n_past // 10, n_past) if part == "validation" else (n_past, len(events))
    expected = [
        row
        for row in range(start, end)
        if events.positive[row]
        and (
            repeats
            or not any(
                events.user[n] == events.user[row]
                and events.item[n] == events.item[row]
                and events.time[n] < events.time[row]
                for n in range(row)
            )
        )
    ]
    assert found.rows.tolist() == expected
    assert found.n_fitted == start
    assert expected


@pytest.mark.parametrize("repeats", [False, True])
def test_ranks_are_those_of_a_plain_sort(repeats: bool) -> None:
    events = random_events(1, n_items=40)
    queries = next_positives(events, repeats=repeats)
    # few distinct scores, so that ties are common
    scores = np.random.default_rng(0).integers(0, 4, (len(queries), len(events.items)))
    at = {row: n for n, row in enumerate(queries.rows.tolist())}
    ranked = rank_by_scores(queries, lambda batch: scores[[at[row] for row in batch.rows]])
    rows = ranked.table(queries).to_pylist()
    not_found = 0
    for n, row in enumerate(queries.rows.tolist()):
        rankable = rankable_slowly(events, row, repeats=repeats)
        by_id = {f"i{item:03}": float(score) for item, score in enumerate(scores[n])}
        rank, top = rank_slowly(by_id, rankable, f"i{events.item[row]:03}")
        assert (rows[n]["rank"] or 0, rows[n]["top10"]) == (rank, top)
        assert rows[n]["n_ranked"] == len(rankable)
        not_found += rank == 0
    assert not_found  # an item chosen before it was known


def test_a_mistake_in_what_is_rankable_is_caught() -> None:
    events = random_events(1)
    queries = next_positives(events)
    wrong = [
        row
        for row, mask in zip(
            queries.rows.tolist(), replace(queries, repeats=True).rankable, strict=True
        )
        if {f"i{item:03}" for item in np.flatnonzero(mask)}
        != rankable_slowly(events, row, repeats=False)
    ]
    assert wrong


def test_scores_are_asked_in_parts_and_put_together() -> None:
    rows = [(time, 0, time % 50, True) for time in range(6000)]
    events = make_events(rows, 1, 50)
    queries = next_positives(events, repeats=True, limit=None)
    sizes = []

    def score(batch: Queries) -> np.ndarray:
        sizes.append(len(batch))
        return np.eye(50)[batch.target]

    ranked = rank_by_scores(queries, score)
    assert sizes == [256, 256, 88]
    assert (ranked.rank == 1).all() and len(ranked.rank) == 600


def test_the_draw_is_of_the_asked_size_and_repeatable() -> None:
    events = random_events(n_events=2000)
    one, two = (next_positives(events, repeats=True, limit=30, seed=4) for _ in range(2))
    assert len(one) == 30
    assert one.rows.tolist() == two.rows.tolist() == sorted(set(one.rows.tolist()))
    assert next_positives(events, repeats=True, limit=30, seed=5).rows.tolist() != one.rows.tolist()


def test_nothing_to_ask_is_an_empty_table() -> None:
    events = make_events([(time, 0, time, False) for time in range(20)], 1, 20)
    queries = next_positives(events)
    ranked = rank_by_scores(queries, lambda batch: np.zeros((len(batch), 20)))
    assert len(queries) == 0
    assert ranked.table(queries).schema == RANKS


def test_left_out_choices_are_each_users_last_and_nothing_is_fitted_on_them() -> None:
    events = random_events()
    how = SplitConfig(by="leave_one_out")
    test = next_positives(events, repeats=True, limit=None, how=how)
    validation = next_positives(events, "validation", repeats=True, limit=None, how=how)
    assert len(test) > 3 and len(validation) > 3
    for queries, n_later in ((test, 0), (validation, 1)):
        assert not np.isin(queries.rows, queries.fitted_rows).any()
        assert len(queries.fitted) == queries.n_fitted
        for user, time in zip(queries.user, queries.time, strict=True):
            instants = np.unique(events.time[events.user == user])
            assert (instants > time).sum() == n_later
            fitted = queries.fitted.time[queries.fitted.user == user]
            assert (fitted < time).all() and len(fitted)
    # other users' later events are fitted on; what was known at a choice is before it all the same
    assert (test.fitted.time > test.time.min()).any()
    before = [
        int(((events.user == user) & (events.time < time)).sum())
        for user, time in zip(test.user, test.time, strict=True)
    ]
    assert test.histories().lengths.tolist() == before
