"""The chooser: what a slate is, its loss against the whole catalogue, its gradient."""

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from intake.model_settings import ChooserConfig
from training.next_item.chooser import (
    N_CONTEXT,
    Chooser,
    Slates,
    draw_slates,
    fit_chooser,
    slate_loss,
)

CONFIG = ChooserConfig(width=8, epochs=20, batch_size=32, strata=((3, 2), (100, 4)))


def test_the_corrected_loss_of_a_slate_is_on_average_that_of_the_catalogue() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=40)
    others = np.exp(np.delete(logits, 0)).sum()
    order = np.argsort(-logits)[None].repeat(4000, axis=0)
    chosen = np.zeros(4000, np.int64)
    config = ChooserConfig(strata=((10, 5), (1000, 5)))
    items, stands_for = draw_slates(order, chosen, np.ones(order.shape, bool), config, rng)
    weighted = np.exp(logits[items] + stands_for)
    assert abs(weighted[:, 1:].sum(axis=1).mean() / others - 1) < 0.02
    assert abs(np.exp(logits[items][:, 1:]).sum(axis=1).mean() / others - 1) > 0.2
    given = torch.from_numpy(logits[items]), torch.from_numpy(stands_for)
    by_hand = -np.log(weighted[:, 0] / weighted.sum(axis=1))
    loss = slate_loss(*given, torch.ones(4000))
    np.testing.assert_allclose(float(loss), by_hand.mean(), rtol=1e-6)
    halves = torch.arange(4000) % 2
    loss = slate_loss(*given, halves)
    np.testing.assert_allclose(float(loss), by_hand[1::2].sum() / 4000, rtol=1e-6)


@given(st.integers(1, 30), st.integers(0, 5))
def test_a_slate_has_the_chosen_item_and_allowed_others_that_stand_for_all(
    n_items: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = np.stack([rng.permutation(n_items) for _ in range(3)])
    chosen = rng.integers(0, n_items, 3)
    allowed = rng.random((3, n_items)) < 0.7
    items, stands_for = draw_slates(order, chosen, allowed, CONFIG, rng)
    assert (items[:, 0] == chosen).all() and (stands_for[:, 0] == 0).all()
    for row in range(3):
        usable = items[row, 1:][stands_for[row, 1:] >= 0]
        assert len(set(usable)) == len(usable)
        assert chosen[row] not in usable and allowed[row, usable].all()
    total = np.exp(stands_for[:, 1:][(stands_for[:, 1:] >= 0)]).sum()
    assert total <= 3 * n_items + 1e-3


def test_the_gradient_is_that_of_the_score() -> None:
    torch.manual_seed(0)
    chooser = Chooser(CONFIG, n_signals=3).double()
    signals = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    context = torch.randn(2, N_CONTEXT, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(chooser, (signals, context))


def _slates(n: int, rng: np.random.Generator) -> Slates:
    """The item with the highest second signal is chosen; the first signal is noise."""
    signals = rng.normal(size=(n, 6, 2))
    best = signals[:, :, 1].argmax(axis=1)
    rows = np.arange(n)
    signals[rows, 0], signals[rows, best] = signals[rows, best], signals[rows, 0].copy()
    context = rng.normal(5.0, 2.0, (n, N_CONTEXT)).astype(np.float32)
    nothing, weight = np.zeros((n, 6), np.float32), np.ones(n, np.float32)
    return Slates(signals.astype(np.float16), nothing, context, weight)


def test_it_learns_which_signal_decides() -> None:
    rng = np.random.default_rng(0)
    chooser = fit_chooser(_slates(400, rng), CONFIG, seed=0)
    fresh = _slates(200, rng)
    with torch.inference_mode():
        logits = chooser(torch.from_numpy(fresh.signals).float(), torch.from_numpy(fresh.context))
    assert (logits.argmax(dim=1) == 0).float().mean() > 0.9


def test_few_slates_are_read_until_something_is_learnt() -> None:
    """They are one batch: an epoch is several passes."""
    rng = np.random.default_rng(0)
    chooser = fit_chooser(_slates(100, rng), ChooserConfig(epochs=2), seed=0)
    fresh = _slates(200, rng)
    with torch.inference_mode():
        logits = chooser(torch.from_numpy(fresh.signals).float(), torch.from_numpy(fresh.context))
    assert logits.softmax(dim=1)[:, 0].mean() > 0.8


def test_one_slate_and_one_constant_request_are_enough_to_fit() -> None:
    slates = _slates(1, np.random.default_rng(0))
    chooser = fit_chooser(slates, CONFIG, seed=0)
    with torch.inference_mode():
        logits = chooser(torch.from_numpy(slates.signals).float(), torch.from_numpy(slates.context))
    assert torch.isfinite(logits).all()


def test_the_same_seed_gives_the_same_chooser() -> None:
    slates = _slates(50, np.random.default_rng(0))
    one, two = (fit_chooser(slates, CONFIG, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_choices_of_weight_zero_teach_nothing() -> None:
    """The same slates, and as many that say the opposite."""
    rng = np.random.default_rng(0)
    right, wrong = _slates(200, rng), _slates(200, rng)
    opposite = replace(wrong, signals=-wrong.signals, weight=np.zeros(200, np.float32))
    chooser = fit_chooser(Slates.joined([right, opposite]), CONFIG, seed=0)
    with torch.inference_mode():
        logits = chooser(torch.from_numpy(right.signals).float(), torch.from_numpy(right.context))
    assert (logits.argmax(dim=1) == 0).float().mean() > 0.9
