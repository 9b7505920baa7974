"""Sections as one HTML page that needs nothing else: no script, no font, no network."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from evaluation.report.blocks import BarChart, LineChart, Section
from evaluation.report.charts import draw
from evaluation.report.document import Report
from evaluation.report.sections import build_sections

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(report: Report) -> str:
    """The whole page; what comes from the data is escaped."""
    return render_sections(
        title=f"{report.dataset}: evaluation",
        heading=f"{report.dataset}: what is recommended, measured",
        facts=describe(report),
        sections=build_sections(report),
    )


def render_sections(*, title: str, heading: str, facts: str, sections: Sequence[Section]) -> str:
    """A page of sections; what comes from the data is escaped."""
    return _TEMPLATES.get_template("page.html.j2").render(
        title=title,
        heading=heading,
        facts=facts,
        sections=sections,
        caption=_caption,
        draw=lambda chart: Markup(draw(chart)),  # draw escapes what it is given
    )


def describe(report: Report) -> str:
    """Data, version and time in one line."""
    return (
        f"{report.n_events:,} events of {report.n_users:,} users with {report.n_items:,} items. "
        f"feast-fusion {report.version}, {report.created}."
    )


def _caption(chart: LineChart | BarChart) -> str:
    return chart.title if isinstance(chart, BarChart) else f"{chart.title} ({chart.y})"
