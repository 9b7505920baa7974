"""An encoder being tuned: its steps, and what must be kept to go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.checkpoint import Checkpoint, below, optimizer_tensors, restore_optimizer

_WARM_UP = 0.1
_SAVED_EVERY = 20
_LARGEST_GRADIENT = 1.0

Report = Callable[[int, int, float], None]
"""Called after a step with its number from 1, how many there are, and its loss."""


@dataclass(frozen=True)
class Fit:
    """The steps of one kind of learning.

    Attributes
    ----------
    learned : weights by name
    loss : of the step of that number; all its chance follows from the number
    n_steps : in all
    learning_rate : the highest: it rises over the first tenth of the steps, then falls to 0
    """

    learned: Mapping[str, nn.Parameter]
    loss: Callable[[int], Tensor]
    n_steps: int
    learning_rate: float

    def run(self, checkpoint: Checkpoint, report: Report) -> list[float]:
        """Take the steps that are left, and return the loss of each step."""
        optimizer = torch.optim.AdamW(list(self.learned.values()), self.learning_rate)
        losses = self._restore(checkpoint, optimizer)
        for number in range(len(losses), self.n_steps):
            losses.append(self._step(number, optimizer))
            report(number + 1, self.n_steps, losses[-1])
            if (number + 1) % _SAVED_EVERY == 0 or number + 1 == self.n_steps:
                self._save(checkpoint, optimizer, losses)
        return losses

    def _step(self, number: int, optimizer: torch.optim.Optimizer) -> float:
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * _schedule(number, self.n_steps)
        optimizer.zero_grad()
        loss = self.loss(number)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.learned.values(), _LARGEST_GRADIENT)
        optimizer.step()
        return float(loss.detach())

    def _save(
        self, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer, losses: list[float]
    ) -> None:
        tensors: dict[str, Tensor] = {f"learned.{name}": w for name, w in self.learned.items()}
        remembered = optimizer_tensors(optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in remembered.items()}
        checkpoint.save(tensors, {"losses": losses})

    def _restore(self, checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> list[float]:
        kept = checkpoint.load()
        if kept is None:
            return []
        tensors, description = kept
        with torch.no_grad():
            for name, weight in below(tensors, "learned").items():
                self.learned[name].copy_(weight)
        restore_optimizer(optimizer, below(tensors, "optimizer"))
        losses: list[float] = description["losses"]
        return losses


def _schedule(number: int, n_steps: int) -> float:
    """Share of the highest learning rate, linear up and down.

    >>> [round(_schedule(number, 20), 2) for number in (0, 1, 2, 10, 19)]
    [0.5, 1.0, 1.0, 0.56, 0.06]
    """
    n_up = max(1, int(np.ceil(n_steps * _WARM_UP)))
    return min((number + 1) / n_up, (n_steps - number) / max(1, n_steps - n_up))
