"""A dataset.toml as proposed: its keys, and why each was guessed so."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from intake.proposal.event_columns import EventColumns
from intake.proposal.features import Features, find_features
from intake.proposal.items_in_log import described_by, query_of_items, query_of_logs, source_keys
from intake.proposal.known_from import known_column
from intake.proposal.positive_rule import propose_positive
from intake.proposal.questions import Ask, Question
from intake.proposal.roles import Linked, Roles, find_roles
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable
from intake.proposal.slates import with_rows_of_slates

_TITLES = ("title", "item_title")  # of items without one: their id under this name
_OURS = ("event_timestamp", "created", "value", "event_type", "event_id", "user_id", "item_id")


@dataclass
class Proposal:
    """Keys by section, and the reasons for them, and for what is without, a sentence each."""

    name: str
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)

    def add(self, section: str, keys: dict[str, Any], reasons: Sequence[str]) -> None:
        """Adds a section; keys without a value are left out."""
        kept = {key: value for key, value in keys.items() if value not in (None, {}, [], ())}
        self.sections[section] = kept
        self.reasons[section] = list(reasons)


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
    default = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "shop"
    default = default if default[0].isalpha() else f"data_{default}"
    proposal = Proposal(name or ask(Question("What is the data set called?", default)))
    if roles.items is None:
        _add_items_of_log(proposal, log, events, folder, now)
    else:
        _add_entity(proposal, "items", roles.items, events.item, roles, folder, now, ask)
    if roles.users is not None:
        _add_entity(proposal, "users", roles.users, events.user, roles, folder, now, ask)
    _add_interactions(proposal, roles, folder, ask)
    return proposal


def _add_interactions(proposal: Proposal, roles: Roles, folder: Path, ask: Ask) -> None:
    log, events = roles.logs[0], roles.events
    reasons = [
        f"{log.label} has {len(log.table):,} rows with a time ({events.time}), a user "
        f"({events.user}) and an item ({events.item})."
    ]
    source = source_keys(log, folder)
    mapping = events.mapping()
    if len(roles.logs) > 1:
        source |= {"query": query_of_logs(roles.logs, folder)}
        source = {key: source[key] for key in ("query", "database") if key in source}
        reasons.append("Files with the same columns are one log; event_type is the file's name.")
    elif log.part is None and log.query is not None:
        reasons.append("A row of the log lists what was shown; the query makes a row of each.")
    time = _time(log.columns[events.time], log, ask)
    positive, reason = propose_positive(log, events, ask)
    unused = [table.label for table in roles.unused]
    if unused:
        reasons.append(
            f"Not used: {', '.join(unused)}; no column of the events is described there."
        )
    keys = {
        **source,
        "columns": _with_raw(mapping, log, {*events.names}),
        "time": time,
        "positive": positive,
    }
    proposal.add("interactions", keys, [*proposal.without, *reasons, reason])


def _add_entity(
    proposal: Proposal,
    section: str,
    linked: Linked,
    column: str,
    roles: Roles,
    folder: Path,
    now: datetime,
    ask: Ask,
) -> None:
    table, key = linked.table, linked.key
    ours = f"{section[:-1]}_id"
    known = known_column(linked, roles.logs[0], column, roles.events, now)
    used = {key, known.name if known else key}
    columns = [each for name, each in table.columns.items() if name not in used]
    features = find_features(columns, with_title=section == "items")
    if section == "users" and not (features.numeric or features.categorical):
        proposal.without.append(f"{table.label} has no feature of users: [users] is left out.")
        return
    mapping = {ours: key} | ({"event_timestamp": known.name} if known else {})
    mapping = {ours: theirs for ours, theirs in mapping.items() if ours != theirs}
    reasons = [f"{table.label} describes {linked.shared:.0%} of the {section} by {key}."]
    keys = {
        **source_keys(table, folder),
        "columns": _with_raw(mapping, table, used),
    }
    if known is not None:
        keys["time"] = _time(known, table, ask)
        reasons.append(f"A row holds from its {known.name}; hardly an event comes before.")
    else:
        keys["valid_from"] = _ask_rule(section, ask)
        reasons.append(
            f"No time says from when a row holds: valid_from is a rule for all {section}."
        )
    if section == "items":
        title = features.title or next(n for n in _TITLES if n not in table.columns)
        if features.title is None:
            keys["columns"] |= {ours: key, title: key}
            reasons.append(f"No column names an item: its title is its {key}.")
        keys |= {"title": title, "text": features.template(title)}
    keys |= {"numeric": features.numeric, "categorical": features.categorical}
    keys["lists"] = features.lists
    keys["combine"] = _combine(table, key, features, known)
    if keys["combine"]:
        reasons.append(f"Some {section} have several rows; combine makes one of them.")
    proposal.add(section, keys, [*reasons, *_left_out(features)])


def _add_items_of_log(
    proposal: Proposal, log: SeenTable, events: EventColumns, folder: Path, now: datetime
) -> None:
    described = described_by(log, events, now)
    features = find_features(described, with_title=True)
    key = [] if features.title else ["title"]
    names = [features.title, *features.long_texts, *features.numeric, *features.categorical]
    query = query_of_items(log, events.item, [name for name in names if name], folder, key)
    keys = {
        **(source_keys(log, folder) if log.part is not None else {}),
        "query": query,
        "valid_from": "first_event",
        "title": features.title or "title",
        "text": features.template("title"),
        "numeric": features.numeric,
        "categorical": features.categorical,
        "lists": features.lists,
    }
    reasons = [
        f"No table describes the items: what {log.label} says of each is taken from there.",
        "An item is known from its first event on.",
    ]
    proposal.add("items", keys, [*reasons, *_left_out(features)])


def _with_raw(mapping: dict[str, str], table: SeenTable, used: set[str]) -> dict[str, str]:
    """The mapping, and other names for columns that have one of ours but are not it."""
    meant = {*mapping.values(), *used}
    raw = {f"{n}_raw": n for n in _OURS if n in table.columns and n not in meant}
    return mapping | raw


def _time(column: SeenColumn, table: SeenTable, ask: Ask) -> dict[str, str]:
    found = column.time.model_dump(exclude_none=True) if column.time is not None else {}
    if column.needs_zone:
        words = (
            f"Times of {column.name} in {table.label}, such as {column.examples[0]!r}, do not "
            "say their zone. Which is it?"
        )
        found["zone"] = ask(Question(words, "UTC"))
    return found


def _ask_rule(section: str, ask: Ask) -> str:
    words = (
        f"No time says from when a row of {section} holds. From the beginning, or for each from "
        "its first event?"
    )
    return ask(Question(words, "beginning", ("beginning", "first_event")))


def _combine(
    table: SeenTable, key: str, features: Features, known: SeenColumn | None
) -> dict[str, str]:
    if table.columns[key].n_distinct + table.columns[key].n_null >= table.columns[key].n:
        return {}
    columns = [*filter(None, [features.title]), *features.numeric, *features.categorical]
    columns += features.long_texts
    by = [key, known.name] if known else [key]
    frame = pl.DataFrame({n: pl.Series(table.table[n]) for n in dict.fromkeys([*by, *columns])})
    found = {}
    for name in columns:
        differs = frame.group_by(by).agg(pl.col(name).n_unique())[name].max()
        if differs is not None and int(differs) > 1:  # type: ignore[arg-type]
            found[name] = "list" if name in features.categorical else "first"
    return found


def _left_out(features: Features) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in features.left_out.items():
        reasons.setdefault(reason, []).append(name)
    return [f"Left out: {', '.join(names)} ({reason})." for reason, names in reasons.items()]
