"""The item-item models against loops and dense inverses."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.oracles import item_models as oracle
from tests.transformations.collaborative.logs import random_log
from transformations.collaborative import item_models, local_regression
from transformations.collaborative.histories import Events, take_events
from transformations.collaborative.item_models import (
    NextItemRegression,
    event_weights,
    fit_ease,
    keep_strongest,
    normalised,
    weighted_items,
)

LIMIT = 5
EVENTS = random_log()
N_ITEMS = len(EVENTS.items)


def test_ease_is_a_ridge_regression_on_the_other_items() -> None:
    found = fit_ease(EVENTS, 90, N_ITEMS).toarray()
    np.testing.assert_allclose(found, oracle.ease(EVENTS, 90, 300.0), atol=1e-6)
    assert not np.allclose(found, oracle.ease(EVENTS, 90, 299.0), atol=1e-6)


def test_ease_of_no_event_says_nothing() -> None:
    assert not fit_ease(EVENTS, 0, N_ITEMS).nnz
    assert NextItemRegression(N_ITEMS).solve(5).shape == (N_ITEMS, N_ITEMS)


@pytest.mark.parametrize("parts", [[0, 90], [0, 1, 40, 40, 90]])
def test_the_regression_is_the_same_taken_in_at_once_or_in_parts(parts: list[int]) -> None:
    regression = taken_in(EVENTS, parts)
    wanted = oracle.next_item_regression(EVENTS, 90, LIMIT, 100.0)
    found = regression.solve(N_ITEMS).toarray()
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_array_equal(regression.solve(3).toarray(), keep_strongest(found, 3).toarray())


@pytest.mark.parametrize("k", [3, N_ITEMS])
def test_of_many_items_each_is_regressed_on_those_that_alone_explain_most(
    k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_models, "_EXACT_ITEMS", 0)
    monkeypatch.setattr(item_models, "_SUPPORT", k)
    monkeypatch.setattr(local_regression, "_AT_ONCE", 5 * 3**2)  # five targets of three sources
    weights = np.random.default_rng(2).uniform(0.5, 2.0, len(EVENTS))  # no two explain the same
    events = replace(EVENTS, weight=weights.astype(np.float32))
    gram = oracle.liked_together(events, 90)
    cross = gram - np.diag(np.diag(gram))
    found = fit_ease(events, 90, N_ITEMS).toarray()
    wanted = oracle.local_regression(gram, cross, 300.0, k)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    regression = taken_in(events, [0, 40, 90])
    found = regression.solve(N_ITEMS).toarray()
    wanted = oracle.local_regression(*oracle.next_item_sums(events, 90, LIMIT), 100.0, k)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    strongest = keep_strongest(found, 2).toarray()
    np.testing.assert_array_equal(regression.solve(2).toarray(), strongest)


def test_where_all_items_met_a_support_of_all_gives_the_exact_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = random_log(900)
    regression = taken_in(events, [0, 900])
    exact = fit_ease(events, 900, N_ITEMS).toarray(), regression.solve(N_ITEMS).toarray()
    monkeypatch.setattr(item_models, "_EXACT_ITEMS", 0)
    local = fit_ease(events, 900, N_ITEMS).toarray(), regression.solve(N_ITEMS).toarray()
    np.testing.assert_allclose(local, exact, atol=1e-6)


def test_of_many_items_only_the_newest_events_of_a_user_meet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_models, "_EXACT_ITEMS", 0)
    monkeypatch.setattr(item_models, "_LONGEST", 4)
    liked = np.flatnonzero(EVENTS.positive)
    newest = [liked[EVENTS.user[liked] == user][-4:] for user in range(len(EVENTS.users))]
    few = take_events(EVENTS, np.sort(np.concatenate(newest)))
    found, wanted = (fit_ease(log, len(log), N_ITEMS).toarray() for log in (EVENTS, few))
    np.testing.assert_array_equal(found, wanted)


def test_of_many_items_memory_grows_with_what_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_models, "_EXACT_ITEMS", 0)
    monkeypatch.setattr(local_regression, "_AT_ONCE", 10_000)
    peaks = []
    for n_items in (500, 2_000):
        events = random_log(3 * n_items, users=n_items // 10, items=n_items)
        tracemalloc.start()
        assert fit_ease(events, len(events), 5).nnz
        regression = taken_in(events, [0, len(events)])
        assert regression.solve(5).nnz
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 6 * peaks[0], "a matrix of all pairs would be 16 times as large"


def taken_in(events: Events, parts: list[int]) -> NextItemRegression:
    """The regression of the events from each number to the next."""
    regression = NextItemRegression(len(events.items))
    for start, end in pairwise(parts):
        liked = np.flatnonzero(events.positive[start:end]) + start
        histories = events.histories(events.user[liked], events.time[liked], LIMIT)
        regression.add(histories, events.item[liked], events.weight[liked])
    return regression


def test_weights_fade_by_place_and_a_disliked_event_counts_a_fifth() -> None:
    rows = np.arange(60, 90)
    histories = EVENTS.histories(EVENTS.user[rows], EVENTS.time[rows], LIMIT)
    found = weighted_items(histories, len(EVENTS.items)).toarray()
    for at, row in enumerate(rows):
        past = oracle.history_rows(EVENTS, int(EVENTS.user[row]), int(EVENTS.time[row]), LIMIT)
        wanted = oracle.weighted_history(EVENTS, past)
        np.testing.assert_allclose(found[at], wanted, rtol=1e-5)
        one = event_weights(histories.take(np.array([at])))
        assert one.sum() == pytest.approx(wanted.sum())


def test_a_row_over_one_and_its_length_is_shorter_than_one() -> None:
    rows = np.arange(len(EVENTS))
    histories = EVENTS.histories(EVENTS.user, EVENTS.time, LIMIT)
    found = normalised(weighted_items(histories.take(rows), len(EVENTS.items))).toarray()
    assert (np.linalg.norm(found, axis=1) < 1).all()
    assert (found[histories.lengths == 0] == 0).all()


def test_the_strongest_weights_of_a_row_stay_whatever_their_sign() -> None:
    matrix = np.array([[0.1, -0.9, 0.5], [0.0, 0.2, -0.1]], np.float32)
    np.testing.assert_array_equal(
        keep_strongest(matrix, 2).toarray(),
        np.array([[0.0, -0.9, 0.5], [0.0, 0.2, -0.1]], np.float32),
    )
    np.testing.assert_array_equal(keep_strongest(matrix, 3).toarray(), matrix)


def test_events_later_change_nothing_that_was_fitted() -> None:
    other = random_log()
    other.item[90:] = 0
    found, again = (fit_ease(log, 90, N_ITEMS).toarray() for log in (EVENTS, other))
    np.testing.assert_array_equal(found, again)
