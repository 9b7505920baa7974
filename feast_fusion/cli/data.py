"""`feast-fusion prepare` and `feast-fusion training-set`: from files to features to examples."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from transformations.sources import write_sources

from feast_fusion.cli.context import SERVICE, open_store, progress_bar, say, then, with_workspace
from transformations.workspace import Workspace

if TYPE_CHECKING:
    from feast_fusion.training_set import TrainingSet


@click.command()
@with_workspace
def prepare(workspace: Workspace) -> None:
    """Validate the three files and derive the point-in-time sources.

    Rows that cannot be used go to sources/rejects/ with their reason; the rest goes on. Unchanged
    files are not prepared again.
    """
    prepare_sources(workspace)
    then("Next: feast-fusion run (everything), or feast apply and feast materialize.")


def prepare_sources(workspace: Workspace) -> None:
    """Write the sources of a workspace and say what came of it."""
    with progress_bar("Preparing") as advance:
        report = write_sources(workspace, progress=advance)
    for line in report.lines():
        say(line)


@click.command("training-set")
@click.option("--service", default=SERVICE, show_default=True, help="Which feature service.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder. Default: in the workspace.")
@with_workspace
def training_set(workspace: Workspace, service: str, out: Path | None) -> None:
    """Build the training set: each label with the features as they were just before it."""
    built = retrieve_training_set(workspace, service)
    folder = built.save(out or workspace.training_set)
    say(f"{len(built):,} rows in {folder}.")
    then("Next: feast-fusion train.")


def retrieve_training_set(workspace: Workspace, service: str = SERVICE) -> "TrainingSet":
    """The training set of a workspace, straight from Feast."""
    from training.dataset import build_training_set
    from training.spine import build_spine

    spine = build_spine(workspace.dataset, workspace.sources)
    return build_training_set(open_store(workspace), service, spine)
