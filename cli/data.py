"""`feast-fusion prepare` and `feast-fusion training-set`: from files to features to examples."""

from typing import TYPE_CHECKING

import click

from cli.feast_repository import declared_runner, open_store
from cli.forgetting_place import complete_forgetting
from cli.terminal import progress_bar, result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.training_set_store import is_remote
from intake.dataset import Retention
from intake.workspace import Workspace
from transformations.declared_encoders import identify_every
from transformations.names import SERVICE
from transformations.prepared_sources import SourcesReport, write_sources
from transformations.writing import identify_item_writer, identify_user_writer

if TYPE_CHECKING:
    from feast_fusion.training_set import TrainingSet


@click.command()
@with_workspace
def prepare(workspace: Workspace) -> None:
    """Validate the three files and derive the point-in-time sources.

    Rows that cannot be used go to sources/rejects/ with their reason; the rest goes on. Unchanged
    files are not prepared again.
    """
    report = prepare_sources(workspace)
    result(
        sources=workspace.sources,
        is_unchanged=report.is_unchanged,
        read=report.read,
        rows=report.rows,
        rejects=report.rejects,
    )
    then("Next: feast-fusion run (everything), or feast apply and feast materialize.")


def prepare_sources(workspace: Workspace) -> SourcesReport:
    """Write the sources of a workspace and say what came of it.

    The models are looked for first: one that is not there would end the job only after all this.
    """
    complete_forgetting(workspace)
    _drop_what_is_old(workspace)
    list(identify_every(workspace.dataset))
    identify_item_writer(workspace.dataset)
    identify_user_writer(workspace.dataset)
    spread = declared_runner(workspace).map
    with progress_bar("Preparing") as advance:
        report = write_sources(workspace, progress=advance, spread=spread)
    say(*_report_lines(workspace, report))
    return report


def _drop_what_is_old(workspace: Workspace) -> None:
    if workspace.dataset.retention == Retention():
        return
    from forgetting.retention import apply_retention

    n_events, n_files = apply_retention(workspace)
    say(f"Too old to be kept: {n_events:,} events, {n_files:,} files of the served log.")


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

    spine = build_spine(workspace)
    say(*describe_left_out(workspace, spine))
    built = build_training_set(open_store(workspace), service, spine)
    return Collaborations(workspace, spine["item_id"]).add_to(built)


def _report_lines(workspace: Workspace, report: SourcesReport) -> list[str]:
    read = ", ".join(f"{n:,} {name}" for name, n in report.read.items())
    if report.is_unchanged:
        return [f"Unchanged: the sources of {read} are kept."]
    rows = ", ".join(f"{name} {n:,}" for name, n in report.rows.items())
    lines = [f"Read {read} in {report.seconds:.1f} s.", f"Wrote {rows}."]
    for file, reasons in report.rejects.items():
        for reason, n in reasons.items():
            example = report.examples[file].get(reason)
            said = f"{reason}, {example}" if example else reason
            lines.append(f"Rejected {n:,} rows of {file}: {said}.")
    if any(report.rejects.values()):
        lines.append(f"They are in {workspace.sources / 'rejects'}, each with its reason.")
    if report.users_without_profile:
        lines.append(f"{report.users_without_profile:,} users have events but no row in users.")
    return lines + report.notes
