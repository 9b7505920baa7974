"""Fitting the ranker: training rows by gradient, the rows after them to know when to stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.model_settings import RankerConfig
from training.checkpoint import Checkpoint
from training.fitting import Epoch, Examples, Fitting
from training.metrics import auc
from training.processes import ALONE, Processes
from training.ranker.artifact import Artifact, probabilities
from training.ranker.batching import RankerInputs
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.model import InputShape, Ranker
from training.split import split_by_time
from training.threads import on_few_threads

Report = Callable[[Epoch], None]


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


@on_few_threads()
def train(
    training_set: TrainingSet,
    dataset: Dataset,
    config: RankerConfig,
    *,
    service: str,
    encoder_id: str | None,
    seed: int = 0,
    device: str | None = None,
    processes: Processes = ALONE,
    checkpoint: Checkpoint | None = None,
    report: Report | None = None,
) -> TrainResult:
    """The ranker fitted to the training rows of `split_by_time`; its test rows are not looked at.

    Parameters
    ----------
    config : size and fitting of the ranker
    device : None for CUDA if there is one, else the CPU, where one seed gives one model
    processes : those that fit the ranker together, each calling this with the same arguments
    checkpoint : where the fit is kept after each epoch, and gone on from; the caller removes it
    report : called after each epoch

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
    learned = _examples(features, training_set.take(split.train), where, cross_fitted=True)
    held_out = _examples(features, training_set.take(split.validation), where)
    torch.manual_seed(seed)
    ranker = Ranker(config, _shape(features, learned.inputs)).to(where)
    fitting = Fitting(ranker, config, seed, processes)
    if checkpoint:
        fitting.restore(checkpoint)
    while not fitting.is_over:
        loss = fitting.run_epoch(learned)
        quality = processes.agree(_quality(fitting.mean, held_out), where)
        epoch = fitting.judge(loss, quality)
        if checkpoint and processes.is_first:
            fitting.save(checkpoint)
        if report:
            report(epoch)
    history, best = fitting.history, fitting.best
    metrics = {"validation_auc": max(history)}
    artifact = Artifact(features, best.cpu().eval(), encoder_id, service, metrics)
    return TrainResult(artifact, history, time.perf_counter() - started)


def _examples(
    features: FeatureEncoder,
    rows: TrainingSet,
    where: torch.device,
    *,
    cross_fitted: bool = False,
) -> Examples:
    labels = torch.from_numpy(rows.table["label"].to_numpy().astype(np.float32))
    inputs = features.transform(rows, cross_fitted=cross_fitted)
    return Examples(inputs.to(where), labels.to(where))


def _quality(ranker: Ranker, examples: Examples) -> float:
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
