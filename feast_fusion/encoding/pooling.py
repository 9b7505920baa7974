"""Token states -> one vector per text. Right for padding on either side."""

from collections.abc import Callable

import torch

Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str, n_prompt: int = 0) -> torch.Tensor:
    """(B, d) float32 of token states (B, L, d) under a mask (B, L), 1 for a real token.

    `weighted_mean` weighs the i-th token with i, as SGPT does (Muennighoff 2022,
    arXiv:2202.08904, equation 1). The first `n_prompt` tokens of each text are left out; the others
    keep their places. A text without any other token has zeros.
    """
    weights = mask.cumsum(dim=1) * mask  # (B, L), 1, 2, 3, ... over the real tokens
    weights = weights * (weights > n_prompt)
    return _POOLS[pooling](hidden.float(), weights)


def _weighted_mean(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return _sum(hidden, places) / _count(places)


def _mean(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return _sum(hidden, places > 0) / _count(places > 0)


def _mean_sqrt_len(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return _sum(hidden, places > 0) / _count(places > 0).sqrt()


def _sum(hidden: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return torch.bmm(weights.to(hidden.dtype).unsqueeze(1), hidden).squeeze(1)  # (B, d)


def _count(weights: torch.Tensor) -> torch.Tensor:
    return weights.sum(dim=1, keepdim=True).clamp(min=1).float()  # (B, 1)


def _cls(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return _take(hidden, places, (places > 0).int().argmax(dim=1))


def _last(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return _take(hidden, places, places.argmax(dim=1))


def _take(hidden: torch.Tensor, places: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    rows = torch.arange(len(hidden), device=hidden.device)
    return hidden[rows, at] * (places[rows, at] > 0).unsqueeze(1)  # (B, d)


def _max(hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    highest = hidden.masked_fill((places == 0).unsqueeze(-1), -torch.inf).amax(dim=1)
    return highest.masked_fill(highest == -torch.inf, 0)


_POOLS: dict[str, Pool] = {
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "cls": _cls,
    "last": _last,
    "weighted_mean": _weighted_mean,
    "max": _max,
}
