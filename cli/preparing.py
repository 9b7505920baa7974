"""From files to point-in-time sources, as every command that needs them does it."""

from cli.feast_repository import declared_runner
from cli.forgetting_place import complete_forgetting
from cli.rejected_lines import rejected_lines
from cli.terminal import progress_bar, say
from intake.dataset import Retention
from intake.workspace import Workspace
from transformations.declared_encoders import identify_every
from transformations.prepared_sources import SourcesReport, write_sources
from transformations.writing import identify_item_writer, identify_user_writer


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


def _report_lines(workspace: Workspace, report: SourcesReport) -> list[str]:
    read = ", ".join(f"{n:,} {name}" for name, n in report.read.items())
    rejected = rejected_lines(report.rejects, report.examples, workspace.sources / "rejects")
    if report.is_unchanged:
        return [f"Unchanged: the sources of {read} are kept.", *rejected]
    rows = ", ".join(f"{name} {n:,}" for name, n in report.rows.items())
    lines = [f"Read {read} in {report.seconds:.1f} s.", f"Wrote {rows}.", *rejected]
    if report.users_without_profile:
        lines.append(f"{report.users_without_profile:,} users have events but no row in users.")
    return lines + report.notes
