"""The item-item models against loops and dense inverses."""

from itertools import pairwise

import numpy as np
import pytest

from tests.oracles import item_models as oracle
from tests.transformations.collaborative.logs import random_log
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
    found = fit_ease(EVENTS, 90).dense(N_ITEMS)
    np.testing.assert_allclose(found, oracle.ease(EVENTS, 90, 300.0), atol=1e-6)
    assert not np.allclose(found, oracle.ease(EVENTS, 90, 299.0), atol=1e-6)


def test_ease_of_no_event_says_nothing() -> None:
    assert not fit_ease(EVENTS, 0).dense(N_ITEMS).any()
    assert NextItemRegression().solve().strongest(5, N_ITEMS).shape == (N_ITEMS, N_ITEMS)


@pytest.mark.parametrize("parts", [[0, 90], [0, 1, 40, 40, 90]])
def test_the_regression_is_the_same_taken_in_at_once_or_in_parts(parts: list[int]) -> None:
    regression = NextItemRegression()
    for start, end in pairwise(parts):
        liked = np.flatnonzero(EVENTS.positive[start:end]) + start
        histories = EVENTS.histories(EVENTS.user[liked], EVENTS.time[liked], LIMIT)
        regression.add(histories, EVENTS.item[liked], EVENTS.weight[liked])
    wanted = oracle.next_item_regression(EVENTS, 90, LIMIT, 100.0)
    found = regression.solve()
    np.testing.assert_allclose(found.dense(N_ITEMS), wanted, atol=1e-6)
    assert len(found.items) < N_ITEMS  # one that nobody met costs nothing
    kept = keep_strongest(found.dense(N_ITEMS), 3).toarray()
    np.testing.assert_array_equal(found.strongest(3, N_ITEMS).toarray(), kept)


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
    found, again = (fit_ease(log, 90).dense(N_ITEMS) for log in (EVENTS, other))
    np.testing.assert_array_equal(found, again)
