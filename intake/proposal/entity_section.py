"""`[items]` and `[users]`: from the table that describes them, or, of items, from the events."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from intake.proposal.event_columns import EventColumns
from intake.proposal.features import Features, find_features
from intake.proposal.items_in_log import described_by, query_of_items, source_keys
from intake.proposal.known_from import ask_rule, find_known_from
from intake.proposal.proposed_section import (
    SECTION,
    ProposedSection,
    propose_columns,
    propose_section,
    propose_time,
    reasons_of_source,
)
from intake.proposal.questions import Ask
from intake.proposal.roles import Linked, Roles
from intake.proposal.seen_table import SeenTable

Entity = Literal["item", "user"]

_TITLES = ("title", "item_title")  # of items without one: their id under this name
_WITHOUT = {
    "item": "{:,} of {:,} events have another {} and are rejected.",
    "user": "{:,} of {:,} events have another {}: these users have no features.",
}


def propose_entity(
    entity: Entity, linked: Linked, roles: Roles, folder: Path, now: datetime, ask: Ask
) -> ProposedSection | None:
    """The section of a table that describes items or users; None where users have no features."""
    table, log = linked.table, roles.logs[0]
    column = roles.events.item if entity == "item" else roles.events.user
    known = find_known_from(linked, log, column, roles.events, now)
    time = known.column.name if known is not None else None
    used = {linked.key} if time is None else {linked.key, time}
    columns = [seen for name, seen in table.columns.items() if name not in used]
    features = find_features(columns, with_title=entity == "item")
    if entity == "user" and not (features.numeric or features.categorical):
        return None
    mapping = {f"{entity}_id": linked.key, "event_timestamp": time}
    keys: dict[str, Any] = source_keys(table, folder)
    keys["columns"] = propose_columns(mapping, table, used)
    reasons = {
        SECTION: [_coverage(entity, linked, log, column), *_left_out(features)],
        **reasons_of_source(table),
    }
    if known is not None:
        keys["time"], why = propose_time(known.column, table, ask)
        reasons["columns"], reasons["time"] = [known.reason(entity)], why
    else:
        keys["valid_from"], why_rule = ask_rule(entity, table, ask)
        reasons["valid_from"] = [why_rule]
    if entity == "item":
        title = features.title or next(name for name in _TITLES if name not in table.columns)
        keys |= {"title": title, "text": features.template(title)}
        if features.title is None:
            keys["columns"] |= {"item_id": linked.key, title: linked.key}
            reasons["title"] = [f"No column names an item: its title is its {linked.key}."]
    keys |= features.keys
    keys["combine"] = _combine(linked, features, [linked.key, *(used - {linked.key})])
    reasons["combine"] = [f"Some {entity}s have several rows: this is how they become one."]
    return propose_section(keys, reasons | features.reasons)


def propose_items_of_log(
    log: SeenTable, events: EventColumns, folder: Path, now: datetime
) -> ProposedSection:
    """`[items]` where only the events describe them."""
    features = find_features(described_by(log, events, now), with_title=True)
    copies = [] if features.title else [_TITLES[0]]
    keys = {
        **(source_keys(log, folder) if log.part is not None else {}),
        "query": query_of_items(log, events.item, [*features.names], folder, copies),
        "valid_from": "first_event",
        "title": features.title or _TITLES[0],
        "text": features.template(_TITLES[0]),
        **features.keys,
    }
    reasons = {
        SECTION: [
            f"No file describes the items. The query takes what {log.label} says of them.",
            *_left_out(features),
        ],
        "valid_from": ["Each item is known from its first event on."],
    }
    return propose_section(keys, reasons | features.reasons)


def _left_out(features: Features) -> list[str]:
    """The columns that are no features, in a sentence per reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in features.left_out.items():
        reasons.setdefault(reason, []).append(name)
    return [f"Left out: {', '.join(names)} ({reason})." for reason, names in reasons.items()]


def _coverage(entity: Entity, linked: Linked, log: SeenTable, column: str) -> str:
    """How many of the ids of the events a table describes, and what becomes of the others."""
    ids = pl.Series(log.table[column]).cast(pl.String).drop_nulls()
    keys = pl.Series(linked.table.table[linked.key]).cast(pl.String)
    is_known = ids.is_in(keys.implode())
    n_ids, n_known = ids.n_unique(), ids.filter(is_known).n_unique()
    where = f"in {linked.key} of {linked.table.label}"
    if n_known == n_ids:
        return f"All {n_ids:,} values of {column} in {log.label} are {where}."
    found = f"{n_known:,} of the {n_ids:,} values of {column} in {log.label} are {where}."
    return f"{found} {_WITHOUT[entity].format(int((~is_known).sum()), len(ids), column)}"


def _combine(linked: Linked, features: Features, by: list[str]) -> dict[str, str]:
    """How the columns in which rows of one key and time differ become one value."""
    table, key = linked.table, linked.table.columns[linked.key]
    if key.n_distinct + key.n_null >= key.n:
        return {}
    names = dict.fromkeys([*by, *features.names])
    frame = pl.DataFrame({name: pl.Series(table.table[name]) for name in names})
    n_values = frame.group_by(by).agg(pl.col(name).n_unique() for name in features.names)
    return {
        name: "list" if name in features.categorical else "first"
        for name in features.names
        if (n_values[name].max() or 0) > 1  # type: ignore[operator]
    }
