"""The fusion ranker: one encoder per modality, their fusion, and a logit.

Modalities: structured features; the collaborative numbers, which say how the user would answer by
what other people answered; and the text of a candidate, compared with the user's recent events by
target attention (after Deep Interest Network, Zhou et al. 2018, arXiv:1706.06978).
"""

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from intake.model_settings import RankerConfig
from training.ranker.batching import Batch
from training.ranker.fusion import build_fusion


class InputShape(BaseModel):
    """Widths of the inputs: S, codes, C, U and p of `Batch`; spread of text products; outcomes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    structured: int
    categories: int
    collaborative: int
    user_texts: int
    text: int
    text_spread: float
    outcomes: int = 0


class TargetAttention(nn.Module):
    """Summaries of what a user's recent events answer, weighted by likeness to the candidate.

    `likeness` deviates by about one. Per head a softmax over sharpness * likeness - decay * age;
    sharpness and decay are learned. Beside it two sums, in which an unlike event speaks against.
    """

    def __init__(self, heads: int, responses: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.linspace(0.5, 2.0, heads))
        self.decay = nn.Parameter(torch.full((heads,), 0.1))
        self.n_outputs = (heads + 2) * responses + heads

    def forward(self, likeness: Tensor, responses: Tensor, ages: Tensor, mask: Tensor) -> Tensor:
        """(B, n_outputs) from (B, H), (R, H, R'), (R, H) and (R, H); zeros without an event.

        R is B or 1, as in `Batch`.
        """
        likeness = likeness * mask  # (B, H)
        # (B, heads, H): the softmax runs over what lies together in memory
        scores = self.sharpness[:, None] * likeness[:, None] - self.decay[:, None] * ages[:, None]
        scores = scores.masked_fill(~mask[:, None], -1e9)
        weights = scores.softmax(dim=2) * mask[:, None]
        attended = weigh(weights, responses).flatten(1)  # (B, heads * R')
        alike = (weights * likeness[:, None]).sum(dim=2)  # (B, heads)
        total = weigh(likeness[:, None], responses)[:, 0]  # (B, R')
        n = mask.sum(dim=1, keepdim=True)
        summed = total / (n + 10.0).sqrt()
        mean = total / (likeness.abs().sum(dim=1, keepdim=True) + 1.0)
        return torch.cat([attended, alike, summed, mean], dim=1)


def weigh(weights: Tensor, values: Tensor) -> Tensor:
    """(B, k, v) sums of `values` (R, H, v) by `weights` (B, k, H); R is B or 1."""
    if len(values) == 1:  # one product of matrices is several times as fast as B small ones
        n, k, _ = weights.shape
        return (weights.flatten(0, 1) @ values[0]).view(n, k, values.shape[2])
    return weights @ values


def compare(items: Tensor, events: Tensor) -> Tensor:
    """(B, H) inner products of `items` (B, d) with `events` (R, H, d); R is B or 1."""
    if len(events) == 1:
        return items @ events[0].T
    return torch.einsum("bd,bhd->bh", items, events)


def tower(n_inputs: int, config: RankerConfig) -> nn.Sequential:
    """Inputs of one modality to (B, width)."""
    return nn.Sequential(
        nn.Linear(n_inputs, 2 * config.width),
        nn.GELU(),
        nn.Dropout(config.dropout),
        nn.Linear(2 * config.width, config.width),
    )


class StructuredTower(nn.Module):
    """Numbers and categories to (B, width).

    A category adds a row of its own before the activation, which is what a one-hot column does. It
    begins at zero, so that a category that training met seldom says little.
    """

    def __init__(self, shape: InputShape, config: RankerConfig) -> None:
        super().__init__()
        self.numbers, *rest = tower(shape.structured, config)
        self.rest = nn.Sequential(*rest)
        self.categories = nn.EmbeddingBag(
            shape.categories + 1, 2 * config.width, mode="sum", padding_idx=0
        )
        nn.init.zeros_(self.categories.weight)

    def forward(self, batch: Batch) -> Tensor:
        """(B, width)."""
        encoded: Tensor = self.rest(
            self.numbers(batch.structured) + self.categories(batch.categories)
        )
        return encoded


class Ranker(nn.Module):
    """Logit that the user will like the item.

    What the head gives is stretched and moved by `scale` and `shift`, which are not trained but
    fitted afterwards to held-out rows (`calibration`).
    """

    def __init__(self, config: RankerConfig, shape: InputShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        responses = 2
        towers: dict[str, nn.Module] = {}
        if "structured" in config.modalities:
            towers["structured"] = StructuredTower(shape, config)
        if "collaborative" in config.modalities:
            towers["collaborative"] = tower(shape.collaborative, config)
        if "text" in config.modalities:
            self.by_text = TargetAttention(config.heads, responses)
            self.content = min(config.content, shape.text)
            n_read = (1 + 2 * shape.user_texts) * self.content
            n_numbers = self.by_text.n_outputs + 1 + 2 * shape.user_texts
            towers["text"] = tower(n_numbers + n_read, config)
        self.towers = nn.ModuleDict(towers)
        self.fusion = build_fusion(config.fusion, len(towers), config.width)
        self.head = nn.Sequential(
            nn.LayerNorm(config.width),
            nn.Dropout(config.dropout),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, 1),
        )
        self.outcomes = nn.Linear(config.width, shape.outcomes) if shape.outcomes else None
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, batch: Batch) -> Tensor:
        """(B,) logits."""
        return self.every(batch)[:, 0]

    def every(self, batch: Batch) -> Tensor:
        """(B, 1 + K) logits of being liked, then of the K outcomes."""
        encoders = {
            "structured": self._structured,
            "collaborative": self._collaborative,
            "text": self._text,
        }
        encoded = [encoders[name](batch) for name in self.towers]
        stacked = torch.stack([values for values, _ in encoded], dim=1)  # (B, M, d)
        mask = torch.stack([present for _, present in encoded], dim=1)  # (B, M)
        fused = self.fusion(stacked * mask[..., None], mask)  # (B, d)
        hidden = self.head[:-1](fused)  # (B, d)
        liked: Tensor = self.head[-1](hidden) * self.scale + self.shift
        return liked if self.outcomes is None else torch.cat([liked, self.outcomes(hidden)], dim=1)

    def _structured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, d); always present: what is absent has columns and codes of its own."""
        known = batch.structured.new_ones(len(batch.structured), dtype=torch.bool)
        return self.towers["structured"](batch), known

    def _collaborative(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, d), and whether any of the numbers is there."""
        _, absent = batch.collaborative.chunk(2, dim=1)
        return self.towers["collaborative"](batch.collaborative), (absent == 0).any(dim=1)

    def _text(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, d), and whether the item has a vector."""
        item = batch.texts[:, 0]  # (B, p)
        likeness = compare(item, batch.recent_texts) / self.shape.text_spread
        attended = self.by_text(
            likeness, self._responses(batch), batch.recent_ages, batch.recent_text_mask
        )
        read = batch.texts[..., : self.content] * self.shape.text**0.5  # (B, 1 + U, content)
        products = read[:, 1:] * read[:, :1]
        numbers = torch.cat([attended, 4 * batch.cosines, batch.text_mask.float()], dim=1)
        inputs = torch.cat([numbers, read.flatten(1), products.flatten(1)], dim=1)
        encoded = self.towers["text"](inputs)
        return encoded, batch.text_mask[:, 0]

    @staticmethod
    def _responses(batch: Batch) -> Tensor:
        """(R, H, 2) what each event answered: whether it was liked, and by value."""
        mask = batch.recent_mask.float()  # (R, H)
        liked = batch.recent_positives * mask
        mean = liked.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
        return torch.stack([liked - mean, batch.recent_values], dim=2) * mask[..., None]
