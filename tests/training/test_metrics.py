"""Metrics agree with an oracle that walks every pair and every order; its planted bugs do not."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles import ranking_metrics as oracle
from training import metrics

# Few distinct users and scores, so that ties and users of one label are common.
CASES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=9
)
Case = list[tuple[int, int, int]]


def unpack(case: Case) -> tuple[list[int], list[tuple[int, float]], tuple[np.ndarray, ...]]:
    users, labels, scores = (np.array(column) for column in zip(*case, strict=True))
    rows = [(label, float(score)) for _, label, score in case]
    return users.tolist(), rows, (users, labels, scores.astype(float))


def same(found: float, expected: float) -> bool:
    return math.isclose(found, expected, abs_tol=1e-9) or (
        math.isnan(found) and math.isnan(expected)
    )


@given(CASES)
def test_auc_is_the_share_of_pairs_in_order(case: Case) -> None:
    _, rows, (_, labels, scores) = unpack(case)
    assert same(metrics.auc(labels, scores), oracle.auc_by_pairs(rows))


@given(CASES)
def test_gauc_is_the_auc_of_each_user(case: Case) -> None:
    users, rows, columns = unpack(case)
    assert same(metrics.gauc(*columns), oracle.gauc_by_pairs(users, rows))


@settings(max_examples=40)
@given(CASES, st.integers(1, 4))
def test_list_metrics_are_means_over_the_orders_of_ties(case: Case, k: int) -> None:
    users, rows, columns = unpack(case)
    ndcg = oracle.mean_over_users(users, rows, lambda labels: oracle.ndcg_of(labels, k))
    recall = oracle.mean_over_users(users, rows, lambda labels: oracle.recall_of(labels, k))
    worst = oracle.mean_over_users(users, rows, oracle.reciprocal_rank_of, min)
    assert same(metrics.ndcg_at_k(*columns, k=k), ndcg)
    assert same(metrics.recall_at_k(*columns, k=k), recall)
    assert same(metrics.mrr(*columns), worst)


# Probabilities on the bounds of bins too.
PROBABLE = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 63).map(lambda k: k / 64)), min_size=1, max_size=9
)


@given(PROBABLE, st.sampled_from([1, 2, 8, 16]))
def test_probabilities_are_measured_bin_by_bin(rows: list[tuple[int, float]], bins: int) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    assert same(metrics.log_loss(labels, scores), oracle.log_loss_of(rows))
    assert same(metrics.ece(labels, scores, bins), oracle.ece_of(rows, bins))


def test_certainty_is_in_the_last_bin_and_costs_when_it_is_wrong() -> None:
    labels, scores = np.array([1, 0]), np.array([1.0, 1.0])
    assert metrics.ece(labels, scores) == 0.5
    assert 100 < metrics.log_loss(labels, scores) < math.inf


def test_the_oracles_notice_planted_bugs() -> None:
    case = [(0, 1, 1), (0, 0, 1), (0, 1, 0), (0, 0, 2)]
    users, rows, (ids, labels, scores) = unpack(case)
    assert not same(metrics.auc(labels, scores), oracle.auc_by_pairs(rows, tie=1.0))
    shifted = oracle.mean_over_users(
        users, rows, lambda ranked: oracle.ndcg_of(ranked, 3, first_rank=2)
    )
    assert not same(metrics.ndcg_at_k(ids, labels, scores, k=3), shifted)
    bounds = [(1, 0.5), (0, 0.25)]
    given_bounds = (np.array([1, 0]), np.array([0.5, 0.25]))
    assert not same(metrics.ece(*given_bounds, 2), oracle.ece_of(bounds, 2, closed="right"))
    best = oracle.mean_over_users(users, rows, oracle.reciprocal_rank_of, max)
    assert not same(metrics.mrr(ids, labels, scores), best)


def test_no_rows_and_one_label_are_not_a_number() -> None:
    empty = np.zeros(0)
    assert math.isnan(metrics.auc(empty, empty))
    assert math.isnan(metrics.log_loss(empty, empty)) and math.isnan(metrics.ece(empty, empty))
    assert math.isnan(metrics.auc(np.ones(3), np.arange(3)))
    assert math.isnan(metrics.gauc(np.zeros(3), np.ones(3), np.arange(3)))
    assert math.isnan(metrics.ndcg_at_k(np.zeros(3), np.zeros(3), np.arange(3)))


def test_evaluation_names_every_metric_and_reads_string_users() -> None:
    table = pa.table({"user_id": ["b", "a", "b", "a"], "label": [1, 0, 0, 1]})
    found = metrics.evaluate_scores(table, np.array([0.9, 0.1, 0.2, 0.8], dtype=np.float32))
    rows = [(1, 0.9), (0, 0.1), (0, 0.2), (1, 0.8)]
    ranked = {"auc": 1.0, "gauc": 1.0, "ndcg@10": 1.0, "recall@10": 1.0, "mrr": 1.0}
    calibrated = {"log_loss": oracle.log_loss_of(rows), "ece": oracle.ece_of(rows, 15)}
    assert found == pytest.approx(ranked | calibrated)
