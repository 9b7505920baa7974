"""Scores of items that nobody liked, against a ridge regression solved for each request."""

import numpy as np

from transformations.collaborative.imputation import Imputation

RNG = np.random.default_rng(0)
SIDE = RNG.normal(size=(30, 4)).astype(np.float32)
LIKED = RNG.integers(0, 5, 30).astype(float)


def test_a_new_item_scores_what_a_weighted_ridge_regression_of_the_others_says() -> None:
    scores = RNG.normal(size=(3, 30)).astype(np.float32)
    found = Imputation.fit(SIDE, LIKED, ridge=2.0)(scores)
    is_new = LIKED == 0
    assert is_new.any() and not is_new.all()
    x = np.concatenate([SIDE, np.ones((30, 1))], axis=1)
    penalty = np.diag([2.0, 2.0, 2.0, 2.0, 1e-6])
    for query in range(3):
        w = np.diag(np.log1p(LIKED))
        weights = np.linalg.inv(x.T @ w @ x + penalty) @ x.T @ w @ scores[query]
        np.testing.assert_allclose(found[query, is_new], x[is_new] @ weights, atol=1e-4)
    np.testing.assert_array_equal(found[:, ~is_new], scores[:, ~is_new])


def test_the_scores_of_new_items_are_not_read() -> None:
    scores = RNG.normal(size=(2, 30)).astype(np.float32)
    other = scores.copy()
    other[:, LIKED == 0] += 100
    imputation = Imputation.fit(SIDE, LIKED)
    np.testing.assert_allclose(imputation(scores), imputation(other), atol=1e-5)


def test_without_new_items_nothing_changes_and_with_only_new_ones_all_are_alike() -> None:
    scores = RNG.normal(size=(2, 30)).astype(np.float32)
    np.testing.assert_array_equal(Imputation.fit(SIDE, LIKED + 1)(scores), scores)
    assert np.ptp(Imputation.fit(SIDE, LIKED * 0)(scores)) < 1e-5
