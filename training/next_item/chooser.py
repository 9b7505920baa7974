"""The chooser: which item of a slate is chosen, from standardised signals and the request.

A slate is one chosen item and other items that could have been: many of those that the signals put
first, some from further down, each with the logarithm of how many items it stands for (sampled
softmax with correction, Bengio and Senecal 2008).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intake.model_settings import ChooserConfig
from transformations.collaborative.histories import Flags, Floats, Ints

Report = Callable[[int, float], None]

N_CONTEXT = 6
_NEVER = -1e9
# What is unlike any request that was fitted must not decide alone.
_MOST = 4.0
# Of few slates an epoch is several passes: after fewer steps the weights are near where they began.
_FEWEST_STEPS = 300


class Chooser(nn.Module):
    """A linear score whose weights the request shifts, and a small network beside it.

    Attributes
    ----------
    usual, spread : (6,) mean and deviation of the numbers of a request
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, config: ChooserConfig, n_signals: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.zeros(N_CONTEXT))
        self.register_buffer("spread", torch.ones(N_CONTEXT))
        self.linear = nn.Linear(n_signals, 1)
        self.shift = nn.Linear(N_CONTEXT, n_signals)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)
        width = config.width
        self.network = nn.Sequential(
            nn.Linear(n_signals + N_CONTEXT, width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(width, 1),
        )

    def forward(self, signals: Tensor, context: Tensor) -> Tensor:
        """(B, m) logits from (B, m, f) and (B, 6)."""
        context = ((context - self.usual) / self.spread).clamp(-_MOST, _MOST)
        request = context[:, None].expand(-1, signals.shape[1], -1)  # (B, m, 6)
        shifted = (signals * self.shift(context)[:, None]).sum(dim=2)
        found: Tensor = (
            self.linear(signals).squeeze(2)
            + shifted
            + self.network(torch.cat([signals, request], dim=2)).squeeze(2)
        )
        return found


@dataclass(frozen=True)
class Slates:
    """n slates of m items, the chosen one first.

    Attributes
    ----------
    signals : (n, m, f) float16
    stands_for : (n, m) log of how many items each stands for; very negative where there is none
    context : (n, 6)
    weight : (n,) of the choice in the loss
    """

    signals: NDArray[np.float16]
    stands_for: Floats
    context: Floats
    weight: Floats

    @classmethod
    def joined(cls, parts: Sequence["Slates"]) -> "Slates":
        """All slates of the parts."""
        return cls(
            np.concatenate([part.signals for part in parts]),
            np.concatenate([part.stands_for for part in parts]),
            np.concatenate([part.context for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor]) -> "Slates":
        """The slates of `tensors`."""
        signals, stands_for, context, weight = (
            tensors[name].numpy() for name in ("signals", "stands_for", "context", "weight")
        )
        return cls(signals.transpose(0, 2, 1), stands_for, context, weight)

    def tensors(self) -> dict[str, Tensor]:
        """By name. Signal by signal, as they are drawn: in another order sums round otherwise."""
        arrays = {
            "signals": self.signals.transpose(0, 2, 1),
            "stands_for": self.stands_for,
            "context": self.context,
            "weight": self.weight,
        }
        return {name: torch.from_numpy(np.ascontiguousarray(of)) for name, of in arrays.items()}


def draw_slates(
    order: Ints, chosen: Ints, allowed: Flags, config: ChooserConfig, rng: np.random.Generator
) -> tuple[Ints, Floats]:
    """(q, m) items, the chosen first, and (q, m) log of how many items each stands for.

    Parameters
    ----------
    order : (q, i) items best first
    allowed : (q, i) bool; an item that is not allowed stands for nothing
    """
    n, n_items = order.shape
    items, stands_for, start = [chosen[:, None]], [np.zeros((n, 1), np.float32)], 0
    for end, n_drawn in config.strata:
        end = min(end, n_items)
        size = end - start
        if size <= 0:
            break
        drawn = min(n_drawn, size)
        places = np.argpartition(rng.random((n, size), dtype=np.float32), drawn - 1, axis=1)
        places = start + places[:, :drawn]
        items.append(np.take_along_axis(order, places, axis=1))
        stands_for.append(np.full((n, drawn), np.log(size / drawn), np.float32))
        start = end
    found, logs = np.concatenate(items, axis=1), np.concatenate(stands_for, axis=1)
    useless = ~np.take_along_axis(allowed, found, axis=1) | (found == chosen[:, None])
    useless[:, 0] = False
    logs[useless] = _NEVER
    return found, logs


def slate_loss(logits: Tensor, stands_for: Tensor, weight: Tensor) -> Tensor:
    """Mean of -log of the estimated chance of the first item of (B, m) slates among all items.

    Each is multiplied by its weight (B,).
    An item counts as often as it stands for others: with s the logits and w = exp(stands_for), the
    chance is exp(s[0]) / sum of w exp(s). Without w the ranking of rare candidates is lost.
    """
    return -(weight * (logits + stands_for).log_softmax(dim=1)[:, 0]).mean()


def fit_chooser(
    slates: Slates, config: ChooserConfig, seed: int, report: Report | None = None
) -> Chooser:
    """The chooser under which the chosen items of the slates are likeliest.

    report : called after each epoch with its number and the mean loss of a slate
    """
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    n = len(slates.signals)
    chooser = Chooser(config, slates.signals.shape[2])
    optimizer = torch.optim.AdamW(
        chooser.parameters(), config.learning_rate, weight_decay=config.weight_decay
    )
    n_passes = -(-_FEWEST_STEPS // (config.epochs * -(-n // config.batch_size)))
    n_steps = config.epochs * n_passes * -(-n // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=n_steps + 1, pct_start=0.1
    )
    signals, stands_for, context, weight = map(
        torch.from_numpy, (slates.signals, slates.stands_for, slates.context, slates.weight)
    )
    weight = weight / weight.mean().clamp(min=1e-6)
    chooser.usual.copy_(context.mean(dim=0))
    spread = context.std(dim=0, correction=0)
    chooser.spread.copy_(torch.where(spread > 0, spread, 1.0))
    for epoch in range(config.epochs):
        total = torch.zeros(())
        passes = [torch.randperm(n, generator=order) for _ in range(n_passes)]
        for rows in (part for each in passes for part in torch.split(each, config.batch_size)):
            logits = chooser(signals[rows].float(), context[rows])
            loss = slate_loss(logits, stands_for[rows], weight[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(rows)
        if report is not None:
            report(epoch + 1, float(total) / (n * n_passes))
    return chooser.eval()
