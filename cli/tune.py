"""`feast-fusion tune`: which settings of the ranker do best on the validation rows."""

import click

from cli.ranker import open_training_set
from cli.terminal import progress_bar, say, then
from cli.workspace_options import with_workspace
from intake.changed_settings import change_settings
from intake.workspace import Workspace
from transformations.names import SERVICE


@click.command()
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
def tune(workspace: Workspace, n_trials: int, seed: int) -> None:
    """Try settings of the ranker, and print the best as --set options.

    The first trial is the settings as they are. Each trains on the training rows and is measured on
    the validation rows; test rows are not looked at. Trials are kept: a tuning that was killed goes
    on, as long as training set, dataset.toml and code are the same.
    """
    from training.provenance import digest_training  # seconds to import
    from training.trainer import train
    from training.tuning import Outcome, best_of
    from training.tuning import tune as run_trials

    training_set = open_training_set(workspace)

    def evaluate(changes: list[str]) -> float:
        dataset = change_settings(workspace.dataset, changes)
        result = train(
            training_set, dataset, dataset.ranker, service=SERVICE, encoder_id=None, seed=seed
        )
        return max(result.history)

    with progress_bar("Tuning") as advance:

        def report(outcome: Outcome) -> None:
            advance(f"validation AUC {outcome.quality:.4f}", outcome.number + 1, n_trials)

        name = digest_training(workspace, seed)
        outcomes = run_trials(workspace.tuning, name, n_trials, evaluate, seed=seed, report=report)
    best, first = best_of(outcomes), outcomes[0]
    say(
        f"Best of {len(outcomes)} trials: validation AUC {best.quality:.4f} in trial "
        f"{best.number + 1} (settings as they are: {first.quality:.4f})."
    )
    if not best.changes:
        then("Nothing to change.")
        return
    options = " ".join(f"--set {change}" for change in best.changes)
    then(f"Next: feast-fusion train {options}")
