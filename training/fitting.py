"""A ranker being fitted: its steps, the mean of its weights, and what must be kept to go on."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from intake.model_settings import RankerConfig
from training.checkpoint import Checkpoint, below, optimizer_tensors, restore_optimizer
from training.losses import build_loss, is_pairwise, outcome_loss
from training.processes import Processes
from training.ranker.batching import RankerInputs, iterate_rows, truncate_recent_lists
from training.ranker.model import Ranker


@dataclass(frozen=True)
class Examples:
    """N rows, labels (N,), weights (N,) of mean 1, outcomes (N, K), on the device that trains."""

    inputs: RankerInputs
    labels: Tensor
    weights: Tensor
    outcomes: Tensor


@dataclass(frozen=True)
class Epoch:
    """What an epoch came to: the mean loss of its rows, and the validation AUC after it."""

    number: int
    loss: float
    auc: float


class Fitting:
    """A ranker, the running mean of its weights, and the mean after the best epoch.

    All chance of an epoch follows from seed, number and process: a fit that goes on after it was
    killed takes the same steps.
    """

    def __init__(
        self, ranker: Ranker, config: RankerConfig, seed: int, processes: Processes
    ) -> None:
        self.ranker = ranker
        self.mean = copy.deepcopy(ranker).eval()
        self.best = copy.deepcopy(self.mean)
        self.epochs: list[Epoch] = []
        self._config, self._seed, self._processes = config, seed, processes
        self._steps = 0
        self._optimizer = torch.optim.AdamW(
            ranker.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    @property
    def history(self) -> list[float]:
        """Validation AUC after each epoch."""
        return [epoch.auc for epoch in self.epochs]

    @property
    def is_over(self) -> bool:
        """Whether the epochs are used up, or the best lies too far back."""
        n = len(self.epochs)
        last_better = n - 1 - int(np.argmax(self.history)) if n else 0
        return n >= self._config.epochs or last_better >= self._config.patience

    def run_epoch(self, examples: Examples) -> float:
        """One pass over all rows; the mean loss of a row."""
        config, number = self._config, len(self.epochs)
        order, forgetting = _generator(self._seed, number), self._own_chance(number)
        together = examples.inputs.users if is_pairwise(config.loss) else None
        total = torch.zeros((), device=examples.labels.device)
        self.ranker.train()
        for rows in iterate_rows(len(examples.labels), config.batch_size, order, together):
            total += self._step(examples, rows, forgetting) * len(rows)
        return float(total) / len(examples.labels)

    def judge(self, loss: float, auc: float) -> Epoch:
        """The epoch that has just been run; the mean of now is the best if no AUC was higher."""
        self.epochs.append(Epoch(len(self.epochs) + 1, loss, auc))
        if auc >= max(self.history):
            self.best = copy.deepcopy(self.mean)
        return self.epochs[-1]

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep where the fit stands."""
        tensors = {
            f"{name}.{key}": value
            for name, module in self._modules()
            for key, value in module.state_dict().items()
        }
        remembered = optimizer_tensors(self._optimizer)
        tensors |= {f"optimizer.{name}": value for name, value in remembered.items()}
        epochs = [asdict(epoch) for epoch in self.epochs]
        checkpoint.save(tensors, {"epochs": epochs, "steps": self._steps})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from where the fit stood, if it was kept."""
        kept = checkpoint.load()
        if kept is None:
            return
        tensors, description = kept
        for name, module in self._modules():
            module.load_state_dict(below(tensors, name))
        restore_optimizer(self._optimizer, below(tensors, "optimizer"))
        self.epochs = [Epoch(**epoch) for epoch in description["epochs"]]
        self._steps = description["steps"]

    def _modules(self) -> Iterator[tuple[str, Ranker]]:
        yield from (("ranker", self.ranker), ("mean", self.mean), ("best", self.best))

    def _own_chance(self, number: int) -> torch.Generator:
        """Chance of this process alone: forgetting, and dropout (by the global generator)."""
        own = _generator(self._seed, number, 1 + self._processes.rank)
        torch.manual_seed(own.initial_seed())
        return own

    def _step(self, examples: Examples, rows: Tensor, forgetting: torch.Generator) -> Tensor:
        """One step on the batch of these rows; its loss, a scalar."""
        config, processes, users = self._config, self._processes, examples.inputs.users
        batch = examples.inputs.batch(processes.share(rows))
        if config.truncate:
            batch = truncate_recent_lists(batch, config.truncate, forgetting)
        self._optimizer.zero_grad()
        logits = processes.gather(self.ranker.every(batch), rows)
        weights = examples.weights[rows]
        loss = build_loss(config.loss)(logits[:, 0], examples.labels[rows], users[rows], weights)
        loss = loss + outcome_loss(logits[:, 1:], examples.outcomes[rows], weights)
        torch.autograd.backward(loss)
        processes.add_gradients(self.ranker)
        self._optimizer.step()
        self._follow()
        return loss.detach()

    def _follow(self) -> None:
        self._steps += 1
        # The mean follows faster at the start, where there is nothing worth remembering.
        decay = min(self._config.average, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for mean, weight in zip(self.mean.parameters(), self.ranker.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)


def _generator(*numbers: int) -> torch.Generator:
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator().manual_seed(seed)
