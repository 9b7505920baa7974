"""`feast-fusion tune`: which settings of the models do best on the validation rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from cli.feast_repository import open_store
from cli.ranker import open_training_set
from cli.terminal import progress_bar, result, say, then
from cli.workspace_options import with_workspace
from intake.changed_settings import change_settings
from intake.workspace import Workspace
from transformations.names import SERVICE

if TYPE_CHECKING:
    from training.tuning import Section

_MEASURES = {"candidates": "NDCG@10", "ranker": "AUC"}


@click.command()
@click.option(
    "--of",
    "section",
    type=click.Choice(list(_MEASURES)),
    default="candidates",
    show_default=True,
    help="Whose settings: what is chosen next, or what is liked.",
)
@click.option(
    "--trials",
    "n_trials",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many in all; those done before count.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same trials (on a CPU).")
@with_workspace
def tune(workspace: Workspace, section: "Section", n_trials: int, seed: int) -> None:
    """Try settings of a model, and print the best as --set options.

    The first trial is the settings as they are. Each fits on the training rows and is measured on
    the validation rows: NDCG@10 of 1,000 next choices, or the AUC of being liked. Test rows are not
    looked at. Trials are kept: a tuning that was killed goes on, as long as training set,
    dataset.toml and code are the same.
    """
    from training.provenance import digest_training  # seconds to import
    from training.tuning import Outcome, best_of
    from training.tuning import tune as run_trials

    evaluate = {"candidates": _chosen, "ranker": _liked}[section](workspace, seed)
    measure = _MEASURES[section]
    with progress_bar("Tuning") as advance:

        def report(outcome: Outcome) -> None:
            told = f"validation {measure} {outcome.quality:.4f}"
            advance(told, outcome.number + 1, n_trials)

        outcomes = run_trials(
            workspace.tuning,
            digest_training(workspace, seed),
            section,
            n_trials,
            evaluate,
            seed=seed,
            report=report,
        )
    best, first = best_of(outcomes), outcomes[0]
    say(
        f"Best of {len(outcomes)} trials: validation {measure} {best.quality:.4f} in trial "
        f"{best.number + 1} (settings as they are: {first.quality:.4f})."
    )
    result(trials=len(outcomes), measure=measure, quality=best.quality, changes=best.changes)
    if not best.changes:
        then("Nothing to change.")
        return
    options = " ".join(f"--set {change}" for change in best.changes)
    then(f"Next: feast-fusion train {options}")


def _liked(workspace: Workspace, seed: int) -> Callable[[list[str]], float]:
    from training.trainer import train

    training_set = open_training_set(workspace)

    def auc(changes: list[str]) -> float:
        dataset = change_settings(workspace.dataset, changes)
        fitted = train(
            training_set, dataset, dataset.ranker, service=SERVICE, encoder_id=None, seed=seed
        )
        return max(fitted.history)

    return auc


def _chosen(workspace: Workspace, seed: int) -> Callable[[list[str]], float]:
    from evaluation.fitted_quality import validation_ndcg

    store = open_store(workspace)

    def ndcg(changes: list[str]) -> float:
        dataset = change_settings(workspace.dataset, changes)
        return validation_ndcg(replace(workspace, dataset=dataset), store, seed=seed)

    return ndcg
