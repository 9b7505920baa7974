"""A dataset.toml as proposed: its sections, and why each was guessed so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from intake.proposal.entity_section import propose_entity, propose_items_of_log
from intake.proposal.items_in_log import query_of_logs, source_keys
from intake.proposal.positive_rule import propose_positive
from intake.proposal.proposed_section import (
    SECTION,
    ProposedSection,
    propose_columns,
    propose_section,
    propose_time,
    reasons_of_source,
)
from intake.proposal.questions import Ask, Question
from intake.proposal.repeats import propose_repeats
from intake.proposal.roles import Roles, find_roles
from intake.proposal.seen_table import SeenTable
from intake.proposal.slates import with_rows_of_slates


@dataclass(frozen=True)
class Proposal:
    """The name of a data set, and its sections by name."""

    name: str
    sections: dict[str, ProposedSection]


def propose(
    tables: Sequence[SeenTable], name: str | None, folder: Path, now: datetime, ask: Ask
) -> Proposal:
    """What a dataset.toml in `folder` would say of the tables.

    Raises
    ------
    SchemaError
        None of the tables is a log of events.
    """
    tables = [with_rows_of_slates(table, folder, now) for table in tables]
    roles = find_roles(tables, ask)
    log, events = roles.logs[0], roles.events
    name = name or ask(Question("What is the data set called?", _name_of(folder)))
    sections: dict[str, ProposedSection | None] = {
        "items": propose_items_of_log(log, events, folder, now)
        if roles.items is None
        else propose_entity("item", roles.items, roles, folder, now, ask)
    }
    if roles.users is not None:
        sections["users"] = propose_entity("user", roles.users, roles, folder, now, ask)
    has_users = sections.get("users") is not None
    sections["interactions"] = _propose_interactions(roles, has_users, folder, ask)
    sections["candidates"] = propose_repeats(log, events)
    return Proposal(name, {key: found for key, found in sections.items() if found is not None})


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "shop"
    return name if name[0].isalpha() else f"data_{name}"


def _propose_interactions(roles: Roles, has_users: bool, folder: Path, ask: Ask) -> ProposedSection:
    log, events = roles.logs[0], roles.events
    keys = source_keys(log, folder)
    reasons = {
        SECTION: [
            f"{log.label} has {len(log.table):,} rows with a time ({events.time}), a user "
            f"({events.user}) and an item ({events.item}).",
            *_about_other_tables(roles, has_users),
        ],
        **reasons_of_source(log),
    }
    if len(roles.logs) > 1:
        keys |= {"query": query_of_logs(roles.logs, folder)}
        keys = {key: keys[key] for key in ("query", "database") if key in keys}
        reasons["query"] = [
            "The files with the same columns are one log. The name of the file is the event_type."
        ]
    elif log.part is None and log.query is not None:
        reasons["query"] = ["A row lists all items that were shown. The query makes a row of each."]
    keys["columns"] = propose_columns(events.mapping(), log, {*events.names})
    if events.event_id is not None:
        reasons["columns"] = [
            f"Each row has its own {events.event_id}: a second row with the same one is left out."
        ]
    keys["time"], reasons["time"] = propose_time(log.columns[events.time], log, ask)
    keys["positive"], why = propose_positive(log, events, ask)
    reasons.setdefault("positive" if keys["positive"] else SECTION, []).append(why)
    return propose_section(keys, reasons)


def _about_other_tables(roles: Roles, has_users: bool) -> list[str]:
    said = []
    if roles.users is not None and not has_users:
        said.append(f"{roles.users.table.label} has no feature of users: [users] is left out.")
    if roles.unused:
        labels = ", ".join(table.label for table in roles.unused)
        said.append(f"Not used: {labels}. No column there has the users or items of the events.")
    return said
