"""The loss of a choice, beside the formula written out."""

import math

import numpy as np
import torch

from training.encoder_tuning.losses import choice_loss, nested_loss


def unit(rows: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


QUERIES, ITEMS = unit(3, 0), unit(5, 1)
ANSWER = torch.tensor([0, 2, 4])
HIDDEN = torch.zeros(3, 5, dtype=torch.bool)
HIDDEN[0, 1] = HIDDEN[2, 0] = True
LOG_SHARE = torch.log(torch.tensor([0.5, 0.2, 0.1, 0.1, 0.1]))


def by_loops(log_share: torch.Tensor | None) -> float:
    losses = []
    for row, own in enumerate(ANSWER.tolist()):
        logits = [
            float(QUERIES[row] @ ITEMS[item]) / 0.1
            - (0.0 if log_share is None else float(log_share[item]))
            for item in range(5)
        ]
        others = [math.exp(logit) for item, logit in enumerate(logits) if not HIDDEN[row, item]]
        losses.append(math.log(sum(others)) - logits[own])
    return float(np.mean(losses))


def loss(items: torch.Tensor, log_share: torch.Tensor | None = None) -> torch.Tensor:
    return choice_loss(QUERIES, items, ANSWER, HIDDEN, temperature=0.1, log_share=log_share)


def test_the_loss_is_the_formula() -> None:
    for share in (None, LOG_SHARE):
        assert math.isclose(float(loss(ITEMS, share)), by_loops(share), rel_tol=1e-5)


def test_what_a_user_also_liked_is_not_pushed_away() -> None:
    items = ITEMS.clone().requires_grad_()
    choice_loss(QUERIES[:1], items, ANSWER[:1], HIDDEN[:1], temperature=0.1).backward()
    assert items.grad is not None
    pushed = items.grad.norm(dim=1) > 0
    assert pushed.tolist() == [True, False, True, True, True]


def test_the_correction_pushes_what_is_drawn_often_less() -> None:
    """Of two equal items that are wrong, the one drawn ten times as often is pushed a tenth."""
    query = torch.tensor([[1.0, 0.0]])
    items = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]], requires_grad=True)
    share = torch.log(torch.tensor([0.1, 0.5, 0.05]))
    none = torch.zeros(1, 3, dtype=torch.bool)
    found = choice_loss(query, items, torch.tensor([0]), none, temperature=1.0, log_share=share)
    found.backward()
    assert items.grad is not None
    often, seldom = items.grad[1, 0], items.grad[2, 0]
    assert often > 0 and math.isclose(float(seldom / often), 10.0, rel_tol=1e-5)


def test_nested_widths_are_averaged_and_normalised_again() -> None:
    vectors = unit(4, 2)
    seen: list[tuple[int, ...]] = []

    def total(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape))
        assert torch.allclose(part.norm(dim=1), torch.ones(4))
        return part.sum()

    found = nested_loss(vectors, (2, 4, 8), total)
    by_hand = [
        torch.nn.functional.normalize(vectors[:, :width], dim=1).sum() for width in (2, 4, 8)
    ]
    assert seen == [(4, 2), (4, 4), (4, 8)]
    assert torch.isclose(found, torch.stack(by_hand).mean())
