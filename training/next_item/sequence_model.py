"""The sequence encoder: self-attention over the newest events, a score for every item.

After SASRec (Kang and McAuley 2018, arXiv:1808.09781), with causal attention and a softmax over the
items. Two towers describe an item, as an event and as an answer: an embedding of its own plus a
projection of what is known of it (text vector, categories). A new item, without an embedding of
its own, still has its place by the projection.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intake.model_settings import SequenceConfig

N_NUMBERS = 5
_SHARPNESS = 4.0


@dataclass(frozen=True)
class SequenceBatch:
    """B windows of events behind a start mark, padded on the right to T places.

    Attributes
    ----------
    items : (B, T) codes; `n_items` is the start, `n_items + 1` padding
    numbers : (B, T, 5) of an event: liked, value, gap before it, a new visit, of the same instant
    idle : (B, T, 2) of the pause after the place: its length, and whether the visit is over
    """

    items: Tensor
    numbers: Tensor
    idle: Tensor

    def to(self, device: torch.device) -> "SequenceBatch":
        """The same batch on a device."""
        return SequenceBatch(self.items.to(device), self.numbers.to(device), self.idle.to(device))


class SequenceModel(nn.Module):
    """States after each event, and the logits of every item for a state.

    Parameters
    ----------
    side : (n_items, s) what is known of the items beside their id

    Attributes
    ----------
    met : (n_items,) 1 for items of the fitted events; of the others only `side` is read
    new_bias : () bias of an item that was not met
    scale : (2, 2) mean and deviation of values, and of the logarithm of pauses in seconds
    """

    side: Tensor
    met: Tensor
    new_bias: Tensor
    scale: Tensor

    def __init__(self, config: SequenceConfig, side: Tensor) -> None:
        super().__init__()
        self.config = config
        n_items, n_known = side.shape
        self.n_items = n_items
        width = config.width
        self.register_buffer("side", side, persistent=False)
        self.register_buffer("met", torch.ones(n_items))
        self.register_buffer("new_bias", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.event_ids = nn.Embedding(n_items + 2, width)
        self.answer_ids = nn.Embedding(n_items, width)
        nn.init.normal_(self.event_ids.weight, std=0.05)
        nn.init.normal_(self.answer_ids.weight, std=0.05)
        self.event_side = nn.Linear(n_known, width, bias=False)
        self.answer_side = nn.Linear(n_known, width, bias=False)
        self.answer_bias = nn.Parameter(torch.zeros(n_items))
        self.numbers = nn.Linear(N_NUMBERS, width)
        self.places = nn.Embedding(config.length + 1, width)
        nn.init.normal_(self.places.weight, std=0.02)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.layers))
        self.idle = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(config.dropout)

    def on(self, codes: NDArray[np.int64], side: Tensor) -> "SequenceModel":
        """The model on m other items: those of (m,) codes, -1 for an item that it has not met.

        Parameters
        ----------
        side : (m, s) of the items
        """
        found = copy.deepcopy(self)
        known, rows = torch.from_numpy(codes >= 0), torch.from_numpy(np.maximum(codes, 0))
        with torch.no_grad():
            met = self.met[rows] * known
            events = torch.cat([self.event_ids.weight[rows], self.event_ids.weight[-2:]])
            bias = torch.where(met > 0, self.answer_bias[rows], self.new_bias)
        found.met, found.side, found.n_items = met, side, len(codes)
        found.event_ids = _embedding(events)
        found.answer_ids = _embedding(self.answer_ids.weight[rows].detach())
        found.answer_bias = nn.Parameter(bias, requires_grad=False)
        return found

    def events(self, kept: Tensor | None = None) -> Tensor:
        """(n_items + 2, d) the items as events, then the start and the padding.

        kept : (n_items,) 1 where an item's own embedding is read, None for all that were met
        """
        kept = self.met if kept is None else kept * self.met
        events = self.event_ids.weight[:-2] * kept[:, None] + self.event_side(self.side)
        return torch.cat([events, self.event_ids.weight[-2:]])

    def states(self, batch: SequenceBatch, events: Tensor) -> Tensor:
        """(B, T, d) after the events up to each place, where `events` are those of `events()`."""
        length = batch.items.shape[1]
        x = events[batch.items] + self.numbers(batch.numbers)
        x = self.dropout(x + self.places.weight[:length])
        blocked = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        for block in self.blocks:  # padding is on the right, where causal attention never looks
            x = block(x, src_mask=blocked, is_causal=True)
        x = self.norm(x)
        found: Tensor = x + self.head(x + self.idle(batch.idle))
        return found

    def answers(self, kept: Tensor | None = None) -> Tensor:
        """(n_items, d) the items as answers; `kept` as in `events`."""
        kept = self.met if kept is None else kept * self.met
        described: Tensor = self.answer_side(self.side)
        return described + self.answer_ids.weight * kept[:, None]

    def logits(self, states: Tensor, answers: Tensor) -> Tensor:
        """(m, n_items) of (m, d) states."""
        scale = _SHARPNESS / math.sqrt(self.config.width)
        return torch.addmm(self.answer_bias, states * scale, answers.T)


def _embedding(weights: Tensor) -> nn.Embedding:
    found = nn.Embedding(weights.shape[0], weights.shape[1], _weight=weights)
    return found.requires_grad_(False)


def _block(config: SequenceConfig) -> nn.TransformerEncoderLayer:
    block = nn.TransformerEncoderLayer(
        config.width,
        config.heads,
        2 * config.width,
        config.dropout,
        "gelu",
        batch_first=True,
        norm_first=True,
    )
    block.self_attn.dropout = 0.0  # slow, and of no use beside the others
    return block
