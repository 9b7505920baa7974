"""Objectives of the ranker, from logits and labels to a scalar."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from intake.model_settings import LossName

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def bce(logits: Tensor, labels: Tensor, users: Tensor, weights: Tensor) -> Tensor:
    """Mean of the weighted binary cross-entropies, a scalar. `users` is not looked at."""
    return F.binary_cross_entropy_with_logits(logits, labels, weights)


def bpr(logits: Tensor, labels: Tensor, users: Tensor, weights: Tensor) -> Tensor:
    """Mean of -log sigmoid(positive - negative) over the pairs of one user, a scalar.

    Bayesian personalised ranking (Rendle et al. 2009, arXiv:1205.2618, BPR-Opt); 0 without a pair.
    `logits`, `labels`, `users` and `weights` are (B,); a pair has the weight of its positive.
    """
    positive, negative = torch.where(
        (users[:, None] == users) & (labels[:, None] > labels)  # (B, B)
    )
    losses = F.softplus(logits[negative] - logits[positive]) * weights[positive]
    return losses.sum() / max(1, len(losses))


def joint(logits: Tensor, labels: Tensor, users: Tensor, weights: Tensor) -> Tensor:
    """Equal parts of `bce`, which calibrates, and `bpr`, which orders a user's items."""
    return (bce(logits, labels, users, weights) + bpr(logits, labels, users, weights)) / 2


def outcome_loss(logits: Tensor, outcomes: Tensor, weights: Tensor) -> Tensor:
    """Sum over K outcomes of the mean weighted cross-entropy of (B, K); 0 without an outcome."""
    if not outcomes.shape[1]:
        return logits.new_zeros(())
    each = F.binary_cross_entropy_with_logits(logits, outcomes, reduction="none")
    return (each * weights[:, None]).mean(dim=0).sum()


def build_loss(name: LossName) -> Loss:
    """The objective of that name in the configuration."""
    losses: dict[LossName, Loss] = {"bce": bce, "bpr": bpr, "joint": joint}
    return losses[name]


def is_pairwise(name: LossName) -> bool:
    """Whether the objective compares rows of one user, which must then share a batch."""
    return name != "bce"
