"""The page of one run, which needs nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from evaluation.report.blocks import Section, Table
from evaluation.report.document import Pointwise
from evaluation.report.page import render_sections
from evaluation.report.sections import liked_or_not
from evaluation.run_report.data_profile import profile_data
from evaluation.run_report.some_answers import show_answers
from intake.workspace import Workspace
from serving.answers import Recommendations
from training.audit.leakage import LeakageReport
from transformations.prepared_sources import SourcesReport

_AUDITED = ("the ranker", "the next choice")


@dataclass(frozen=True)
class RunFindings:
    """What the steps of one run found.

    Attributes
    ----------
    audits : of the training set of the ranker, and of the features of the next item
    figures : lines of the summary, see `RunSummary.lines`
    """

    sources: SourcesReport
    audits: Sequence[LeakageReport]
    ranker: Pointwise
    answers: Sequence[Recommendations]
    figures: Sequence[str]


def render_run(workspace: Workspace, found: RunFindings) -> str:
    """One HTML page; what comes from the data is escaped."""
    name = workspace.dataset.name
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return render_sections(
        title=f"{name}: run",
        heading=f"{name}: what the run made",
        facts=f"feast-fusion {version('feast-fusion')}, {made}.",
        sections=[*_sections(workspace, found)],
    )


def _sections(workspace: Workspace, found: RunFindings) -> Iterator[Section]:
    yield Section("In short", tuple(found.figures))
    yield from profile_data(workspace, found.sources)
    yield _audits(found.audits)
    yield liked_or_not(found.ranker)
    yield from show_answers(workspace, found.answers)
    yield Section(
        "How well it recommends",
        (
            "feast-fusion evaluate --all --html FILE measures what users choose next, beside the "
            "baselines. It takes minutes, so that a run leaves it out.",
        ),
    )


def _audits(audits: Sequence[LeakageReport]) -> Section:
    text = (
        "Features recomputed by a slow path of its own: rows of the future, of the label's own "
        "instant, expired ones, other values. What the ranker learns from is checked in a sample "
        "of its rows; what the next choice is learnt from is not kept, so that it is read for some "
        "labels, and each of these rows is checked.",
    )
    rows = [
        (
            name,
            f"{audit.n_rows_checked:,} of {audit.n_rows:,}",
            str(audit.n_features),
            _found(audit),
        )
        for name, audit in zip(_AUDITED, audits, strict=True)
    ]
    table = Table("", ("features of", "rows checked", "features", "findings"), tuple(rows))
    return Section("Leakage audit", text, (table,))


def _found(audit: LeakageReport) -> str:
    return "; ".join(f"{f.kind} {f.feature} ({f.count:,})" for f in audit.findings) or "none"
