"""`feast-fusion prepare` and `feast-fusion training-set`: from files to features to examples."""

from typing import TYPE_CHECKING

import click

from cli.feast_repository import open_store, require_run
from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.training_set_store import is_remote
from intake.workspace import Workspace
from transformations.names import SERVICE

if TYPE_CHECKING:
    from feast_fusion.training_set import TrainingSet


@click.command()
@with_workspace
def prepare(workspace: Workspace) -> None:
    """Validate the three files and derive the point-in-time sources.

    Rows that cannot be used go to sources/rejects/ with their reason; the rest goes on. Unchanged
    files are not prepared again.
    """
    from cli.preparing import prepare_sources

    report = prepare_sources(workspace)
    result(
        sources=workspace.sources,
        is_unchanged=report.is_unchanged,
        read=report.read,
        rows=report.rows,
        rejects=report.rejects,
    )
    then("Next: feast-fusion run (everything), or feast apply and feast materialize.")


@click.command("training-set")
@click.option("--service", default=SERVICE, show_default=True, help="Which feature service.")
@click.option("--out", help="Folder or s3://... Default: in the workspace.")
@with_workspace
def training_set(workspace: Workspace, service: str, out: str | None) -> None:
    """Build the training set: each label with the features as they were just before it."""
    built = retrieve_training_set(workspace, service)
    folder = built.save(out or workspace.training_set)
    say(f"{len(built):,} rows in {folder}.")
    result(rows=len(built), folder=folder)
    then(f"Next: feast-fusion train{f' --training-set {out}' if out and is_remote(out) else ''}.")


def retrieve_training_set(workspace: Workspace, service: str = SERVICE) -> "TrainingSet":
    """The training set of a workspace, straight from Feast."""
    from training.ranker.collaborative import Collaborations
    from training.retrieval import build_training_set
    from training.spine import build_spine, describe_left_out

    require_run(workspace)
    spine = build_spine(workspace)
    say(*describe_left_out(workspace, spine))
    built = build_training_set(open_store(workspace), service, spine)
    return Collaborations(workspace, spine["item_id"]).add_to(built)
