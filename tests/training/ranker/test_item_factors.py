"""Item factors tell likeness, and a fold's tables know nothing of the users it leaves out."""

import numpy as np

from training.ranker.item_factors import N_FOLDS, ItemFactors, fit_item_factors, fold_of
from transformations.id_map import IdMap

N_USERS, N_ITEMS = 80, 12


def events(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each user meets 8 of 12 items, likes those of one parity, and all like item 1 a bit more."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(N_USERS), 8)
    items = np.concatenate([rng.permutation(N_ITEMS)[:8] + 1 for _ in range(N_USERS)])
    taste = rng.integers(0, 2, N_USERS)
    labels = (items % 2 == taste[users]) | ((items == 1) & (rng.random(len(items)) < 0.8))
    return users, items, labels.astype(np.float32)


def fit(users: np.ndarray, items: np.ndarray, labels: np.ndarray, **options: bool) -> ItemFactors:
    names = [f"u{user}" for user in users]
    known = IdMap.of(names)
    return fit_item_factors(
        users,
        items,
        labels,
        fold_of(known)[known.codes(names)],
        n_items=N_ITEMS,
        explicit=options.get("explicit", True),
        rank=4,
        seed=0,
    )


def test_items_liked_by_the_same_people_point_the_same_way() -> None:
    signal = fit(*events())
    residual = signal.factors[-1, 1:, 0]  # (12, rank)
    likeness = residual @ residual.T
    even, odd = likeness[1::2], likeness[::2]
    assert even[:, 1::2].mean() > 0.2 and odd[:, ::2].mean() > 0.2
    assert even[:, ::2].mean() < -0.2


def test_the_item_liked_more_has_the_highest_bias() -> None:
    bias = fit(*events()).bias[-1]
    assert bias[1:].argmax() == 0
    assert bias[0] == 0, "the unknown item"


def test_the_unknown_item_is_like_nothing() -> None:
    assert not fit(*events()).factors[:, 0].any()


def test_a_users_labels_do_not_reach_the_fold_that_leaves_the_user_out() -> None:
    users, items, labels = events()
    before = fit(users, items, labels)
    changed = labels.copy()
    changed[users == 7] = 1 - changed[users == 7]
    after = fit(users, items, changed)
    own = fold_of(IdMap.of(["u7"]))[0]
    np.testing.assert_array_equal(before.bias[own], after.bias[own])
    np.testing.assert_array_equal(before.factors[own], after.factors[own])
    others = [fold for fold in range(N_FOLDS + 1) if fold != own]
    assert all((before.bias[fold] != after.bias[fold]).any() for fold in others)


def test_sampled_negatives_are_no_co_occurrence() -> None:
    users, items, labels = events()
    touched = fit(users, items, labels, explicit=False).factors[-1, :, 1]
    liked = labels > 0
    only_positives = fit(users[liked], items[liked], labels[liked], explicit=False)
    likeness = only_positives.factors[-1, :, 1] @ only_positives.factors[-1, :, 1].T
    correlation = np.corrcoef((touched @ touched.T).ravel(), likeness.ravel())[0, 1]
    assert correlation > 0.999


def test_repeats_count_once_in_the_factors() -> None:
    users, items, labels = events()
    twice = fit(np.tile(users, 2), np.tile(items, 2), np.tile(labels, 2)).factors[-1, :, 1]
    once = fit(users, items, labels).factors[-1, :, 1]
    a, b = (twice @ twice.T).ravel(), (once @ once.T).ravel()
    assert np.corrcoef(a, b)[0, 1] > 0.999


def test_a_fold_without_other_users_is_empty_not_an_error() -> None:
    one = np.zeros(3, dtype=np.int64)
    signal = fit(one, np.array([1, 2, 3]), np.array([1, 0, 1], dtype=np.float32))
    assert signal.factors.shape == (N_FOLDS + 1, N_ITEMS + 1, 2, 4)
    own = fold_of(IdMap.of(["u0"]))[0]
    assert not signal.factors[own].any() and not signal.bias[own].any()


def test_folds_are_the_same_for_one_user_wherever_it_stands() -> None:
    users = IdMap.of(["b", "a", "c", "用户"])
    folds = fold_of(users)
    assert folds[users.code("b")] == fold_of(IdMap.of(["b"]))[0]
    assert ((folds >= 0) & (folds < N_FOLDS)).all()
