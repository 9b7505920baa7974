"""Objectives agree with a loop over rows and pairs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import bce, bpr, build_loss, is_pairwise, joint

CASES = st.lists(
    st.tuples(st.floats(-5, 5, width=32), st.integers(0, 1), st.integers(0, 2)),
    min_size=1,
    max_size=12,
)
Case = list[tuple[float, int, int]]


def tensors(case: Case, weights: list[float] | None = None) -> tuple[torch.Tensor, ...]:
    logits, labels, users = zip(*case, strict=True)
    each = torch.tensor(weights or [1.0] * len(case))
    return torch.tensor(logits), torch.tensor(labels).float(), torch.tensor(users), each


def bpr_by_loop(case: Case, *, across_users: bool = False) -> float:
    losses = [
        math.log1p(math.exp(low - high))
        for high, liked, user in case
        for low, also_liked, other in case
        if liked > also_liked and (user == other or across_users)
    ]
    return sum(losses) / len(losses) if losses else 0.0


@given(CASES)
def test_bpr_is_the_mean_over_pairs_of_one_user(case: Case) -> None:
    assert bpr(*tensors(case)).item() == pytest.approx(bpr_by_loop(case), rel=1e-4, abs=1e-5)


def test_the_loop_notices_pairs_across_users() -> None:
    case = [(2.0, 1, 0), (1.0, 0, 0), (0.5, 0, 1)]
    assert bpr(*tensors(case)).item() != pytest.approx(bpr_by_loop(case, across_users=True))


@given(CASES)
def test_bce_and_joint_by_loop(case: Case) -> None:
    losses = [math.log1p(math.exp(-logit if label else logit)) for logit, label, _ in case]
    expected = sum(losses) / len(losses)
    assert bce(*tensors(case)).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    half = (expected + bpr_by_loop(case)) / 2
    assert joint(*tensors(case)).item() == pytest.approx(half, rel=1e-4, abs=1e-5)


def test_a_batch_without_pairs_has_a_gradient_of_zero() -> None:
    logits = torch.ones(3, requires_grad=True)
    torch.autograd.backward(bpr(logits, torch.ones(3), torch.zeros(3), torch.ones(3)))
    assert logits.grad is not None
    assert logits.grad.tolist() == [0, 0, 0]


def test_a_weight_multiplies_the_loss_of_its_row_and_of_the_pairs_of_its_positive() -> None:
    case: Case = [(0.3, 1, 0), (-1.0, 0, 0), (0.2, 1, 0)]
    plain = [math.log1p(math.exp(-logit if label else logit)) for logit, label, _ in case]
    weighted = tensors(case, [3.0, 0.5, 0.0])
    expected = (3 * plain[0] + 0.5 * plain[1]) / 3
    assert bce(*weighted).item() == pytest.approx(expected, rel=1e-5)
    assert bpr(*weighted).item() == pytest.approx(3 * bpr_by_loop(case[:2]) / 2, rel=1e-5)


def test_names_of_the_configuration() -> None:
    assert [build_loss(name) for name in ("bce", "bpr", "joint")] == [bce, bpr, joint]
    assert [is_pairwise(name) for name in ("bce", "bpr", "joint")] == [False, True, True]
