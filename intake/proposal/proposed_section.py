"""A section of a proposed dataset.toml: its keys, and what speaks for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intake.proposal.questions import Ask, Question
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable

SECTION = ""  # whose reasons are of no single key
_OURS = ("event_timestamp", "created", "value", "event_type", "event_id", "user_id", "item_id")


@dataclass(frozen=True)
class ProposedSection:
    """Keys and their values; reasons by key, a sentence each, those of `SECTION` first."""

    keys: dict[str, Any]
    reasons: dict[str, list[str]]


def propose_section(
    keys: Mapping[str, Any], reasons: Mapping[str, Sequence[str]]
) -> ProposedSection:
    """A section without the keys that have no value."""
    kept = {key: value for key, value in keys.items() if value not in (None, {}, [], ())}
    said = {key: [*reasons[key]] for key in (SECTION, *kept) if reasons.get(key)}
    return ProposedSection(kept, said)


def propose_columns(
    mapping: Mapping[str, str | None], table: SeenTable, used: set[str]
) -> dict[str, str]:
    """`columns`: our name = their name where they differ.

    A column that has one of our names, but is not it, gets another.

    Parameters
    ----------
    used : columns of the table that are read under their own names
    """
    renamed = {ours: theirs for ours, theirs in mapping.items() if theirs and theirs != ours}
    meant = {*renamed.values(), *used}
    raw = {f"{n}_raw": n for n in _OURS if n in table.columns and n not in meant}
    return renamed | raw


def reasons_of_source(table: SeenTable) -> dict[str, list[str]]:
    """Why a text file is read in an encoding, and under names of our own."""
    reasons = {}
    if "encoding" in table.options:
        reasons["encoding"] = [f"{table.label} is not UTF-8."]
    if "names" in table.options:
        reasons["names"] = [f"The first line of {table.label} is a row: no line has the names."]
    return reasons


def propose_time(
    column: SeenColumn, table: SeenTable, ask: Ask
) -> tuple[dict[str, str], list[str]]:
    """`time` for a column, and why its zone; a zone that the file does not say is asked."""
    found = column.time.model_dump(exclude_none=True) if column.time is not None else {}
    if not column.needs_zone:
        return found, []
    example = f"such as {column.examples[0]!r}"
    words = (
        f"The times in {column.name} of {table.label}, {example}, have no offset. In which time "
        "zone are they?"
    )
    zone = found["zone"] = ask(Question(words, "UTC"))
    why = f"The times in {column.name}, {example}, have no offset. "
    if zone == "UTC":
        why += 'UTC is assumed: for local times write their zone, such as "Europe/Berlin".'
    else:
        why += f"They are read as times of {zone}."
    return found, [why]
