"""Token states -> one vector per text. Right for padding on either side."""

from collections.abc import Callable

import torch

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(B, d) float32 of token states (B, L, d) under a mask (B, L), 1 for a real token.

    `weighted_mean` weighs the i-th token with i, as SGPT does (Muennighoff 2022,
    arXiv:2202.08904, equation 1).
    """
    return _POOLS[pooling](hidden.float(), mask)


def _weighted_mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _average(hidden, mask.cumsum(dim=1) * mask)


def _average(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    weights = weights.to(hidden.dtype)  # (B, L)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), hidden).squeeze(1)  # (B, d)


def _cls(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _take(hidden, mask.argmax(dim=1))


def _last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return _take(hidden, mask.shape[1] - 1 - mask.flip(dims=[1]).argmax(dim=1))


def _take(hidden: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), at]  # (B, d)


def _max(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(dim=1)


_POOLS: dict[str, Pool] = {
    "mean": _average,
    "cls": _cls,
    "last": _last,
    "weighted_mean": _weighted_mean,
    "max": _max,
}
