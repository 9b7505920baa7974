"""Fusions: M encoded modalities of one row, some of them absent, to one vector.

Each takes `encoded` (B, M, d), zeros where absent, and `mask` (B, M) bool, and returns (B, d).
"""

import torch
from torch import Tensor, nn

from intake.model_settings import FusionName


class Concatenation(nn.Module):
    """A linear map of all modalities and their masks."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(n * (width + 1), width)

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from (B, M, d) and (B, M)."""
        fused: Tensor = self.project(torch.cat([encoded.flatten(1), mask.float()], dim=1))
        return fused


class Weighted(nn.Module):
    """A learned weight per modality, shared among the modalities present."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n))
        self.absent = nn.Parameter(torch.zeros(n, width))

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from (B, M, d) and (B, M)."""
        weights = masked_softmax(self.weights.expand_as(mask), mask)  # (B, M)
        return (weights[..., None] * encoded).sum(dim=1) + (~mask).float() @ self.absent


class Gated(nn.Module):
    """Per row and dimension a gate over the modalities present, decided by all of them."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(n * (width + 1), n * width)

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from (B, M, d) and (B, M)."""
        gates = self.gate(torch.cat([encoded.flatten(1), mask.float()], dim=1)).view_as(encoded)
        weights = masked_softmax(gates, mask[..., None].expand_as(gates))  # (B, M, d)
        return (weights * encoded).sum(dim=1)


class TransformerFusion(nn.Module):
    """A summary token attends to the modalities present."""

    def __init__(self, n: int, width: int) -> None:
        super().__init__()
        self.names = nn.Parameter(torch.randn(n, width) * 0.02)
        self.summary = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            width,
            nhead=4,
            dim_feedforward=2 * width,
            dropout=0.1,
            batch_first=True,
            norm_first=True,
        )

    def forward(self, encoded: Tensor, mask: Tensor) -> Tensor:
        """(B, d) from (B, M, d) and (B, M)."""
        if len(encoded) == 0:
            return encoded.sum(dim=1)  # attention cannot be told the shape of no rows
        summary = self.summary.expand(len(encoded), 1, -1)
        tokens = torch.cat([summary, encoded + self.names], dim=1)  # (B, 1 + M, d)
        hidden = torch.cat([torch.zeros_like(mask[:, :1]), ~mask], dim=1)  # (B, 1 + M)
        fused: Tensor = self.layer(tokens, src_key_padding_mask=hidden)[:, 0]
        return fused


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over dimension 1 among what is present; all zeros where nothing is."""
    return logits.masked_fill(~mask, -1e9).softmax(dim=1) * mask


def build_fusion(name: FusionName, n: int, width: int) -> nn.Module:
    """The fusion of n modalities of that width, by its name in the configuration."""
    fusions: dict[str, type[nn.Module]] = {
        "concatenation": Concatenation,
        "weighted": Weighted,
        "gated": Gated,
        "transformer": TransformerFusion,
    }
    return fusions[name](n, width)
