"""Every measure against loops; planted mistakes are caught."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import measures
from evaluation.protocol import Ranked, Tied, next_positives
from evaluation.slices import slices
from tests.evaluation.logs import make_events, random_events
from tests.oracles import next_positive as oracle
from training.metrics import auc

RANKS = st.lists(st.integers(0, 15), min_size=1, max_size=20)


@given(RANKS)
def test_gains_are_those_of_the_oracle(ranks: list[int]) -> None:
    found = measures.gains(np.array(ranks))
    expected = oracle.measure([rank or None for rank in ranks])
    assert {name: values.mean() for name, values in found.items()} == pytest.approx(expected)


def test_the_oracle_notices_a_wrong_discount() -> None:
    found = measures.gains(np.array([1, 3]))["ndcg@10"].mean()
    assert found == pytest.approx(oracle.measure([1, 3])["ndcg@10"])
    assert found != pytest.approx(oracle.measure([1, 3], first_rank=2)["ndcg@10"])


@given(RANKS, st.integers(1, 12))
def test_recall_counts_places_up_to_k(places: list[int], k: int) -> None:
    expected = sum(1 for place in places if place and place <= k) / len(places)
    alone = Tied(np.array(places), np.array(places))
    assert measures.recall_at(alone, [k]) == {k: pytest.approx(expected)}


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 6)), min_size=1), st.integers(1, 12))
def test_recall_of_equals_is_the_mean_over_their_places(
    ties: list[tuple[int, int]], k: int
) -> None:
    orders = [[first + at <= k for at in range(n)] for first, n in ties]
    expected = np.mean([np.mean(order) for order in orders])
    first = np.array([each for each, _ in ties])
    last = first + [n - 1 for _, n in ties]
    assert measures.recall_at(Tied(first, last), [k]) == {k: pytest.approx(expected)}


def test_the_interval_is_of_users_and_not_of_queries() -> None:
    # two users of 500 queries each: the mean of two draws is 0, 0.5 or 1
    users = np.repeat([0, 1], 500)
    found = measures.bootstrap_by_user(users, users.astype(float))
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    many = measures.bootstrap_by_user(np.arange(1000), users.astype(float))
    assert many.mean == 0.5
    assert many.low == pytest.approx(0.5 - 1.96 * 0.5 / math.sqrt(1000), abs=0.005)
    assert many.high == pytest.approx(0.5 + 1.96 * 0.5 / math.sqrt(1000), abs=0.005)


def test_the_difference_of_areas_is_that_of_a_plain_resampling() -> None:
    rng = np.random.default_rng(2)
    users, labels = rng.integers(0, 12, 150), rng.random(150) < 0.4
    ours, other = (np.round(labels * lift + rng.random(150), 1) for lift in (0.8, 0.3))  # ties
    found = measures.auc_difference_by_user(users, labels, ours, other)
    assert found.mean == pytest.approx(auc(labels, ours) - auc(labels, other))
    differences = []
    for _ in range(400):
        drawn = rng.choice(np.unique(users), len(np.unique(users)))
        rows = np.concatenate([np.flatnonzero(users == user) for user in drawn])
        differences.append(auc(labels[rows], ours[rows]) - auc(labels[rows], other[rows]))
    expected = np.quantile(differences, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.03)
    one_class = measures.auc_difference_by_user(users, labels | True, ours, other)
    assert math.isnan(one_class.mean)


def test_the_interval_is_that_of_a_plain_resampling() -> None:
    rng = np.random.default_rng(1)
    users, values = rng.integers(0, 15, 90), rng.random(90)
    means = []
    for _ in range(4000):
        drawn = rng.choice(np.unique(users), len(np.unique(users)))
        means.append(np.concatenate([values[users == user] for user in drawn]).mean())
    found = measures.bootstrap_by_user(users, values)
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.01)


def test_a_ratio_is_resampled_with_the_same_users() -> None:
    users = np.arange(50)
    other = np.random.default_rng(0).random(50)
    found = measures.ratio_by_user(users, 2 * other, other)
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    difference = measures.difference_by_user(users, other + 0.25, other)
    assert (difference.mean, difference.low) == pytest.approx((0.25, 0.25))
    assert math.isnan(measures.ratio_by_user(users, other, np.zeros(50)).mean)
    assert math.isnan(measures.bootstrap_by_user(np.zeros(0, int), np.zeros(0)).mean)


def test_distinct_items_are_those_of_the_top_ten() -> None:
    events = random_events(n_users=80, n_events=6000)
    queries = next_positives(events, repeats=True)
    n = len(queries)
    top = np.full((n, 10), -1)
    top[:, 0] = queries.user % 20
    top[:, 1] = np.arange(n) % 7
    ranked = Ranked(np.ones(n, int), np.ones(n, int), top, np.ones(n, int))
    assert measures.n_distinct(ranked) == len({*top[:, 0], *top[:, 1]})
    last = dict(zip(queries.user.tolist(), top, strict=True))  # the last wins
    assert len(last) > measures.N_VISITORS
    expected = {item for row in last.values() for item in row if item >= 0}
    found = measures.n_distinct_of_visitors(queries, ranked)
    assert 7 <= found <= len(expected)
    few = next_positives(random_events(), repeats=True)
    tops = np.arange(len(few) * 10).reshape(-1, 10)
    by_user = dict(zip(few.user.tolist(), tops, strict=True))
    all_of = Ranked(few.rows, few.rows, tops, few.rows)
    assert measures.n_distinct_of_visitors(few, all_of) == 10 * len(by_user)


def test_novelty_is_the_surprise_of_a_user_who_knows_the_item() -> None:
    rows = [(n, n % 8, 0, True) for n in range(8)] + [(8 + n, n, 1, True) for n in range(2)]
    events = make_events([*rows, (20, 0, 2, True), (21, 1, 2, True)], 8, 3)
    queries = next_positives(events, repeats=True)
    assert queries.n_fitted == 11
    top = np.full((1, 10), -1)
    top[0, :3] = [0, 1, 2]
    found = measures.novelty(queries, Ranked(top[0], top[0], top, top[0]))
    assert found == pytest.approx((0 + 2 + 3) / 3)  # of 8 users 8, 2 and 1 know them


def test_slices_count_only_what_came_before() -> None:
    events = random_events(n_events=1200)
    queries = next_positives(events, repeats=True)
    found = list(slices(queries))
    for by in {by for by, _, _ in found}:
        inside = np.stack([mask for other, _, mask in found if other == by])
        assert (inside.sum(axis=0) == 1).all()
    n = 5
    row = queries.rows[n]
    of_user = sum(
        events.user[k] == events.user[row] and events.time[k] < events.time[row]
        for k in range(len(events))
    )
    liked = sum(
        bool(events.item[k] == events.item[row] and events.positive[k])
        for k in range(queries.n_fitted)
    )
    labels = {by: label for by, label, mask in found if mask[n]}
    assert labels == {"positive events of the item": "10-49", "events of the user": "50-99"}
    assert 10 <= liked < 50 <= of_user < 100
