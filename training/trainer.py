"""Fitting the ranker: training rows by gradient, the rows after them to know when to stop."""

import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.model_settings import RankerConfig
from training.losses import build_loss, is_pairwise
from training.metrics import auc
from training.ranker.artifact import Artifact, probabilities
from training.ranker.batching import RankerInputs, iterate_rows, truncate_recent_lists
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.model import InputShape, Ranker
from training.split import split_by_time

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainResult:
    """The artifact of the best epoch, and the validation AUC after each."""

    artifact: Artifact
    history: list[float]
    seconds: float

    def summary(self) -> str:
        """One line for people."""
        best = int(np.argmax(self.history))
        return (
            f"validation AUC {self.history[best]:.4f} after epoch {best + 1} of "
            f"{len(self.history)}, {self.seconds:.0f} s"
        )


@contextmanager
def _on_few_threads() -> Iterator[None]:
    """Half of the cores: these are small operations, whose threads wait for one another.

    Measured on two cores with other work on them: an epoch of 3 s on one thread took 10 to 60 s on
    two.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 2) // 2)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@_on_few_threads()
def train(
    training_set: TrainingSet,
    dataset: Dataset,
    config: RankerConfig,
    *,
    service: str,
    encoder_id: str | None,
    seed: int = 0,
    device: str | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """The ranker fitted to the training rows of `split_by_time`; its test rows are not looked at.

    Parameters
    ----------
    config : size and fitting of the ranker
    device : None for CUDA if there is one, else the CPU, where one seed gives one model
    progress : called with "epoch", epochs done and epochs at most

    Raises
    ------
    SchemaError
        The training rows have one label only.
    """
    started = time.perf_counter()
    split = split_by_time(training_set.table)
    _require_both(training_set.table["label"].to_numpy()[split.train])
    features = FeatureEncoder.fit(
        training_set,
        split.train,
        dataset,
        rank=config.rank,
        text_width=config.text_width,
        seed=seed,
    )
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    learned = _Examples.of(features, training_set.take(split.train), where, cross_fitted=True)
    held_out = _Examples.of(features, training_set.take(split.validation), where)
    torch.manual_seed(seed)
    ranker = Ranker(config, _shape(features, learned.inputs)).to(where)
    fitting = _Fitting(ranker, config, torch.Generator().manual_seed(seed))
    best, history = _fit(fitting, learned, held_out, config, progress)
    metrics = {"validation_auc": max(history)}
    artifact = Artifact(features, best.cpu().eval(), encoder_id, service, metrics)
    return TrainResult(artifact, history, time.perf_counter() - started)


@dataclass(frozen=True)
class _Examples:
    """N rows and their labels (N,), on the device that trains."""

    inputs: RankerInputs
    labels: Tensor

    @classmethod
    def of(
        cls,
        features: FeatureEncoder,
        rows: TrainingSet,
        where: torch.device,
        *,
        cross_fitted: bool = False,
    ) -> "_Examples":
        labels = torch.from_numpy(rows.table["label"].to_numpy().astype(np.float32))
        inputs = features.transform(rows, cross_fitted=cross_fitted)
        return cls(inputs.to(where), labels.to(where))


def _fit(
    fitting: "_Fitting",
    learned: _Examples,
    held_out: _Examples,
    config: RankerConfig,
    progress: Progress | None,
) -> tuple[Ranker, list[float]]:
    """The ranker of the best epoch, and the validation AUC after each."""
    history: list[float] = []
    best = fitting.mean
    for epoch in range(config.epochs):
        fitting.run_epoch(learned)
        history.append(_quality(fitting.mean, held_out))
        if history[-1] >= max(history):
            best = copy.deepcopy(fitting.mean)
        if progress:
            progress("epoch", epoch + 1, config.epochs)
        if epoch - int(np.argmax(history)) >= config.patience:
            break
    return best, history


class _Fitting:
    """A ranker being fitted, and the running mean of its weights."""

    def __init__(self, ranker: Ranker, config: RankerConfig, generator: torch.Generator) -> None:
        self.ranker = ranker
        self.mean = copy.deepcopy(ranker).eval()
        self._config = config
        self._generator = generator
        self._steps = 0
        self._optimizer = torch.optim.AdamW(
            ranker.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def run_epoch(self, examples: _Examples) -> None:
        """One pass over all rows."""
        config, inputs, labels = self._config, examples.inputs, examples.labels
        together = inputs.users if is_pairwise(config.loss) else None
        loss = build_loss(config.loss)
        self.ranker.train()
        for rows in iterate_rows(len(inputs), config.batch_size, self._generator, together):
            batch = inputs.batch(rows)
            if config.truncate:
                batch = truncate_recent_lists(batch, config.truncate, self._generator)
            self._optimizer.zero_grad()
            found = loss(self.ranker(batch), labels[rows], inputs.users[rows])
            torch.autograd.backward(found)
            self._optimizer.step()
            self._follow()

    def _follow(self) -> None:
        self._steps += 1
        # The mean follows faster at the start, where there is nothing worth remembering.
        decay = min(self._config.average, (1 + self._steps) / (10 + self._steps))
        with torch.no_grad():
            for mean, weight in zip(self.mean.parameters(), self.ranker.parameters(), strict=True):
                mean.lerp_(weight, 1 - decay)


def _quality(ranker: Ranker, examples: _Examples) -> float:
    """Validation AUC; 0.5 when the validation rows cannot tell (few rows, one label)."""
    found = auc(examples.labels.cpu().numpy(), probabilities(ranker, examples.inputs))
    return 0.5 if np.isnan(found) else found


def _shape(features: FeatureEncoder, inputs: RankerInputs) -> InputShape:
    return InputShape(
        structured=inputs.structured.shape[1],
        user_texts=inputs.cosines.shape[1],
        kinds=inputs.tables.factors.shape[2],
        rank=inputs.tables.factors.shape[3],
        text=inputs.tables.text.shape[1],
        text_spread=features.text_projection.spread if features.text_projection else 1.0,
    )


def _require_both(labels: NDArray[np.int64]) -> None:
    found = np.unique(labels).tolist()
    if len(found) < 2:
        raise SchemaError(
            f"training rows: got {len(labels)} rows with labels {found}, expected both 0 and 1. "
            "Bring more events, or check [interactions] positive."
        )
