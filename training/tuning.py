"""Trials of settings, kept in a file: which do best on the validation rows.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter
optimization) draws the settings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import optuna
from filelock import FileLock
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from intake.model_settings import FusionName, LossName

# Settings as `--set` takes them, to their quality.
Evaluate = Callable[[list[str]], float]
Report = Callable[["Outcome"], None]


@dataclass(frozen=True)
class Outcome:
    """A finished trial: its number from 0, what it changed, and how good it was."""

    number: int
    changes: list[str]
    quality: float


def tune(
    path: Path,
    name: str,
    n_trials: int,
    evaluate: Evaluate,
    *,
    seed: int = 0,
    report: Report | None = None,
) -> list[Outcome]:
    """All trials, in order; the first changes nothing.

    A trial that was killed is run again, and then the rest is what it would have been.

    Parameters
    ----------
    path : an SQLite file, made if there is none
    name : of what is tuned; only trials under the same name are compared
    n_trials : in all; those in the file count
    report : called after each trial
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        study = optuna.create_study(
            storage=f"sqlite:///{path}", study_name=name, direction="maximize", load_if_exists=True
        )
        for killed in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(killed.number, state=TrialState.FAIL)
        done = _outcomes(study)
        while len(done) < n_trials:
            # What is drawn follows from the finished trials, not from when the process began.
            study.sampler = TPESampler(seed=seed + len(done))
            trial = study.ask()
            changes = suggest(trial) if done else []
            trial.set_user_attr("changes", changes)
            study.tell(trial, evaluate(changes))
            done = _outcomes(study)
            if report:
                report(done[-1])
    return done


def suggest(trial: Trial) -> list[str]:
    """Settings of the ranker for a trial, as `--set` takes them."""
    settings = {
        "fusion": trial.suggest_categorical("fusion", get_args(FusionName)),
        "width": trial.suggest_categorical("width", [16, 32, 64]),
        "heads": trial.suggest_categorical("heads", [1, 2, 4]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        "loss": trial.suggest_categorical("loss", get_args(LossName)),
        "batch_size": trial.suggest_categorical("batch_size", [512, 1024, 2048]),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
    }
    return [
        f"ranker.{name}={value:.3g}" if isinstance(value, float) else f"ranker.{name}={value}"
        for name, value in settings.items()
    ]


def best_of(outcomes: list[Outcome]) -> Outcome:
    """The one of the highest quality; of equals the first."""
    return max(outcomes, key=lambda outcome: outcome.quality)


def _outcomes(study: optuna.Study) -> list[Outcome]:
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    return [Outcome(n, _changes(trial), trial.values[0]) for n, trial in enumerate(finished)]


def _changes(trial: FrozenTrial) -> list[str]:
    return list(trial.user_attrs["changes"])
