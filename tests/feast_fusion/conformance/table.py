"""The table of behaviours in docs/feast/behaviours.md, made of the cases.

`python -m tests.feast_fusion.conformance.table` writes it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.feast_fusion.conformance.engines import ENGINES, Case, Raises
from tests.feast_fusion.conformance.offline_call_cases import CASES as CALLS
from tests.feast_fusion.conformance.offline_cases import CASES as SOURCES
from tests.feast_fusion.conformance.offline_type_cases import CASES as TYPES
from tests.feast_fusion.conformance.online_cases import CASES as ONLINE
from tests.feast_fusion.conformance.online_schema_cases import CASES as SCHEMAS

DOCUMENT = Path(__file__).parents[3] / "docs" / "feast" / "behaviours.md"
PARTS: Mapping[str, Mapping[str, Case]] = {
    "Sources": SOURCES,
    "Types": TYPES,
    "Calls of the offline store": CALLS,
    "Online": ONLINE,
    "Schemas that change": SCHEMAS,
}
HEAD = """# What Feast does, and what it does with these plug-ins

Each line is a situation that a Feast user meets. *ours* is PointInTimeOfflineStore,
MatrixRedisOnlineStore and HistoryEngine; *duckdb* and *file* are Feast 0.67.0 with that offline
store, its Redis store and its local engine. **=** is the same answer as ours, and an error is
named by what it says. `tests/feast_fusion/conformance` runs every line on the three, so the table
is what they do; the situations in full are the functions there.

This page is made by `python -m tests.feast_fusion.conformance.table`.
"""
_WIDTH = 100


def rendered() -> str:
    """The whole document."""
    parts = [HEAD]
    for title, cases in PARTS.items():
        rows = [_row(name, case) for name, case in cases.items()]
        names = ["situation", *ENGINES]
        head = f"| {' | '.join(names)} |\n|{' --- |' * len(names)}"
        parts.append("\n".join([f"\n## {title}\n", head, *rows]) + "\n")
    return "".join(parts)


def _row(name: str, case: Case) -> str:
    answers = [_cell(case.right)]
    for engine in ENGINES:
        if engine != "ours":
            same = engine not in case.recorded
            answers.append("=" if same else _cell(case.recorded[engine]))
    return f"| {name} | {' | '.join(answers)} |"


def _cell(answer: Any) -> str:
    if answer is None:
        return "cannot run it"
    text = repr(answer)
    if isinstance(answer, Raises):
        said = answer.pattern.replace(".*", " ... ").replace("\\", "").strip(": $")
        text = f"error: {said}"
    text = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return f"`{text[:_WIDTH]}...`" if len(text) > _WIDTH else f"`{text}`"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered())
