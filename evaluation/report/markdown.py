"""The report as Markdown; its charts are tables already."""

from collections.abc import Iterable, Iterator

from evaluation.report.blocks import Section, Table
from evaluation.report.document import Report
from evaluation.report.page import describe
from evaluation.report.sections import build_sections

# Characters that would be read as markup, or end a cell of a table.
_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~"} | {"\n": " "})


def render_markdown(report: Report) -> str:
    """The same sections and tables as on the page."""
    lines = [f"# {_plain(report.dataset)}: what is recommended, measured", "", describe(report)]
    for section in build_sections(report):
        lines += _section(section)
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield from ("", f"## {_plain(section.title)}")
    for table in section.first_tables:
        yield from _table(table)
    for text in section.text:
        yield from ("", _plain(text))
    for table in section.other_tables:
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield ""
    if table.title:
        yield from (f"**{_plain(table.title)}**", "")
    yield _row(map(_plain, table.headings))
    yield "|" + "---|" * len(table.headings)
    for at, row in enumerate(table.rows):
        cells = map(_plain, row)
        yield _row(f"**{cell}**" for cell in cells) if at in table.strong else _row(cells)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    return text.translate(_SPECIAL)
