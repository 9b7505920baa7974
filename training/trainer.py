"""Fitting the ranker: training rows by gradient, the rows after them to know when to stop."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.dataset import Dataset
from intake.model_settings import RankerConfig
from training.calibration import Calibration
from training.checkpoint import Checkpoint
from training.fitting import Epoch, Examples, Fitting
from training.metrics import auc
from training.processes import ALONE, Processes
from training.ranker.artifact import Artifact, probabilities
from training.ranker.batching import RankerInputs
from training.ranker.columns import outcome_columns
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.model import InputShape, Ranker
from training.spine import WEIGHT
from training.split import split_rows
from training.threads import on_few_threads

Report = Callable[[Epoch], None]


@dataclass(frozen=True)
class TrainResult:
    """The artifact of the best epoch, and the validation AUC after each.

    Attributes
    ----------
    calibration : fitted to the validation rows, part of the artifact
    """

    artifact: Artifact
    history: list[float]
    calibration: Calibration
    seconds: float

    @property
    def best_epoch(self) -> int:
        """Which epoch is kept, from 1."""
        return int(np.argmax(self.history)) + 1

    def summary(self) -> str:
        """One line for people."""
        return (
            f"validation AUC {max(self.history):.4f} after epoch {self.best_epoch} of "
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
    """The ranker fitted to the training rows of `[split]`; its test rows are not looked at.

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
    split = split_rows(training_set.table, dataset.split)
    _require_both(training_set.table["label"].to_numpy()[split.train])
    features = _fit_features(training_set, split.train, dataset, config)
    where = _device(device)
    learned = _examples(features, training_set.take(split.train), where)
    held_out = _examples(features, training_set.take(split.validation), where)
    fitting = _begin(features, learned, config, seed, processes, where)
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
    best = fitting.best
    scores = probabilities(best, held_out.inputs)
    calibration = Calibration.fit(scores, _labels(held_out))
    calibration.apply(best)
    metrics = {"validation_auc": max(fitting.history)}
    artifact = Artifact(features, best.cpu().eval(), encoder_id, service, metrics)
    seconds = time.perf_counter() - started
    return TrainResult(artifact, fitting.history, calibration, seconds)


@on_few_threads()
def refit(
    result: TrainResult,
    training_set: TrainingSet,
    rows: NDArray[np.int64],
    dataset: Dataset,
    *,
    seed: int = 0,
    device: str | None = None,
    processes: Processes = ALONE,
) -> Artifact:
    """The recipe of a result fitted to `rows`: its epochs and its calibration, nothing held out.

    Parameters
    ----------
    rows : of the training set, in the order of time
    device, processes : as in `train`
    """
    config, where = result.artifact.ranker.config, _device(device)
    features = _fit_features(training_set, rows, dataset, config)
    learned = _examples(features, training_set.take(rows), where)
    fitting = _begin(features, learned, config, seed, processes, where)
    for _ in range(result.best_epoch):
        fitting.judge(fitting.run_epoch(learned), float("nan"))
    result.calibration.apply(fitting.mean)
    return replace(result.artifact, features=features, ranker=fitting.mean.cpu().eval())


def _fit_features(
    training_set: TrainingSet, rows: NDArray[np.int64], dataset: Dataset, config: RankerConfig
) -> FeatureEncoder:
    return FeatureEncoder.fit(training_set, rows, dataset, config=config)


def _begin(
    features: FeatureEncoder,
    learned: Examples,
    config: RankerConfig,
    seed: int,
    processes: Processes,
    where: torch.device,
) -> Fitting:
    torch.manual_seed(seed)
    ranker = Ranker(config, _shape(features, learned.inputs)).to(where)
    return Fitting(ranker, config, seed, processes)


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _examples(features: FeatureEncoder, rows: TrainingSet, where: torch.device) -> Examples:
    labels = torch.from_numpy(rows.table["label"].to_numpy().astype(np.float32))
    weights = torch.from_numpy(_weights(rows))
    outcomes = torch.from_numpy(_outcomes(rows))
    return Examples(
        features.transform(rows).to(where), labels.to(where), weights.to(where), outcomes.to(where)
    )


def _outcomes(rows: TrainingSet) -> NDArray[np.float32]:
    """(n, K) what the rows became, in the order of their columns."""
    columns = [rows.table[name].to_numpy() for name in outcome_columns(rows)]
    found: NDArray[np.float32] = np.array(columns, np.float32).reshape(len(columns), len(rows)).T
    return np.ascontiguousarray(found)


def _weights(rows: TrainingSet) -> NDArray[np.float32]:
    """(n,) of mean 1, so that the step of the optimiser stays what it is."""
    if WEIGHT not in rows.table.column_names:
        return np.ones(len(rows), np.float32)
    weights: NDArray[np.float32] = rows.table[WEIGHT].to_numpy().astype(np.float32)
    return weights / np.float32(weights.mean() or 1.0) if len(weights) else weights


def _labels(examples: Examples) -> NDArray[np.float32]:
    labels: NDArray[np.float32] = examples.labels.cpu().numpy()
    return labels


def _quality(ranker: Ranker, examples: Examples) -> float:
    """Validation AUC; 0.5 when the validation rows cannot tell (few rows, one label)."""
    found = auc(_labels(examples), probabilities(ranker, examples.inputs))
    return 0.5 if np.isnan(found) else found


def _shape(features: FeatureEncoder, inputs: RankerInputs) -> InputShape:
    return InputShape(
        structured=inputs.structured.shape[1],
        categories=features.n_codes,
        collaborative=inputs.collaborative.shape[1],
        user_texts=inputs.cosines.shape[1],
        text=inputs.known_texts.vectors.shape[1],
        text_spread=features.text_projection.spread if features.text_projection else 1.0,
        outcomes=len(features.outcomes),
    )


def _require_both(labels: NDArray[np.int64]) -> None:
    found = np.unique(labels).tolist()
    if len(found) < 2:
        raise SchemaError(
            f"training rows: got {len(labels)} rows with labels {found}, expected both 0 and 1. "
            "Bring more events, or check [interactions] positive."
        )
