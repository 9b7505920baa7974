"""Trials of settings, kept in a file: which do best on the validation rows.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, Algorithms for hyper-parameter
optimization) draws the settings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import optuna
from filelock import FileLock
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState

from intake.model_settings import FusionName, LossName

Section = Literal["candidates", "ranker"]
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
    section: Section,
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
    name : of the data and code; only trials of one section under the same name are compared
    section : whose settings are changed
    n_trials : in all; those in the file count
    report : called after each trial
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        study = optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name=f"{section} {name}",
            direction="maximize",
            load_if_exists=True,
        )
        for killed in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(killed.number, state=TrialState.FAIL)
        done = _outcomes(study)
        while len(done) < n_trials:
            # What is drawn follows from the finished trials, not from when the process began.
            study.sampler = TPESampler(seed=seed + len(done))
            trial = study.ask()
            changes = _SUGGEST[section](trial) if done else []
            trial.set_user_attr("changes", changes)
            study.tell(trial, evaluate(changes))
            done = _outcomes(study)
            if report:
                report(done[-1])
    return done


def best_of(outcomes: list[Outcome]) -> Outcome:
    """The one of the highest quality; of equals the first."""
    return max(outcomes, key=lambda outcome: outcome.quality)


def _suggest_ranker(trial: Trial) -> list[str]:
    return _as_changes(
        "ranker",
        fusion=trial.suggest_categorical("fusion", get_args(FusionName)),
        width=trial.suggest_categorical("width", [16, 32, 64]),
        heads=trial.suggest_categorical("heads", [1, 2, 4]),
        dropout=trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        loss=trial.suggest_categorical("loss", get_args(LossName)),
        batch_size=trial.suggest_categorical("batch_size", [512, 1024, 2048]),
        learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True),
    )


def _suggest_candidates(trial: Trial) -> list[str]:
    sequence = _as_changes(
        "candidates.sequence",
        width=trial.suggest_categorical("width", [32, 64, 96]),
        layers=trial.suggest_int("layers", 1, 2),
        dropout=trial.suggest_float("dropout", 0.1, 0.5, step=0.05),
        forget=trial.suggest_float("forget", 0.0, 0.3, step=0.05),
        disliked=trial.suggest_float("disliked", 0.0, 1.0, step=0.1),
        epochs=trial.suggest_int("epochs", 6, 20),
        learning_rate=trial.suggest_float("learning_rate", 1e-3, 1e-2, log=True),
    )
    chooser = _as_changes(
        "candidates.chooser",
        width=trial.suggest_categorical("chooser_width", [16, 32, 64]),
        dropout=trial.suggest_float("chooser_dropout", 0.0, 0.3, step=0.05),
        epochs=trial.suggest_int("chooser_epochs", 2, 8),
        learning_rate=trial.suggest_float("chooser_learning_rate", 1e-3, 1e-2, log=True),
    )
    return sequence + chooser


_SUGGEST = {"ranker": _suggest_ranker, "candidates": _suggest_candidates}


def _as_changes(section: str, **settings: str | float | int) -> list[str]:
    return [
        f"{section}.{name}={value:.3g}" if isinstance(value, float) else f"{section}.{name}={value}"
        for name, value in settings.items()
    ]


def _outcomes(study: optuna.Study) -> list[Outcome]:
    finished = study.get_trials(states=(TrialState.COMPLETE,))
    return [Outcome(n, _changes(trial), trial.values[0]) for n, trial in enumerate(finished)]


def _changes(trial: FrozenTrial) -> list[str]:
    return list(trial.user_attrs["changes"])
