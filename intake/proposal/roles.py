"""Which table is the events, the items and the users: by what they share, names as hints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from intake.name_hints import hint_of
from intake.proposal.event_columns import EventColumns, find_event_columns, no_events
from intake.proposal.questions import Ask
from intake.proposal.seen_column import share_of
from intake.proposal.seen_table import SeenTable

_LEAST_SHARED = 0.3


@dataclass(frozen=True)
class Linked:
    """A table that describes the values of a column of the events.

    Attributes
    ----------
    key : its column of ids
    shared : share of the events' ids that it has
    """

    table: SeenTable
    key: str
    shared: float


@dataclass(frozen=True)
class Roles:
    """Who is who.

    Attributes
    ----------
    logs : tables of events with the same columns; the largest first
    items, users : None where no table describes them
    unused : tables without a role
    """

    logs: tuple[SeenTable, ...]
    events: EventColumns
    items: Linked | None
    users: Linked | None
    unused: tuple[SeenTable, ...]


def find_roles(tables: Sequence[SeenTable], ask: Ask) -> Roles:
    """The role of each table.

    Raises
    ------
    SchemaError
        None of them is a log of events.
    """
    log = max(tables, key=_log_score)
    if _log_score(log) <= 0:
        raise no_events(tables)
    logs = [t for t in tables if set(t.columns) == set(log.columns) and _log_score(t) > 0]
    logs.sort(key=lambda table: -len(table.table))
    others = [table for table in tables if table not in logs]
    linked = {
        name: [other for other in others if _link(log, name, other) is not None]
        for name, column in log.columns.items()
        if column.can_be_id
    }
    events = find_event_columns(log, {name: found for name, found in linked.items() if found}, ask)
    if len(logs) > 1:  # each counts its own events
        events = replace(events, event_id=None)
    items = _best(log, events.item, others, "item")
    users = _best(
        log, events.user, [t for t in others if not items or t is not items.table], "user"
    )
    used = [each.table for each in (items, users) if each is not None]
    unused = tuple(t for t in others if not any(t is each for each in used))
    return Roles(tuple(logs), events, items, users, unused)


def _log_score(table: SeenTable) -> float:
    """How much a table looks like events: a time, a user and an item, many rows."""
    columns = table.columns.values()
    ids = [each for each in columns if each.can_be_id]
    if not any(each.kind == "time" for each in columns) or len(ids) < 2:
        return 0.0
    users = any(hint_of(each.name, "user") for each in ids)
    items = any(hint_of(each.name, "item") for each in ids)
    is_entity = any(
        each.is_unique and (hint_of(each.name, "user") or hint_of(each.name, "item"))
        for each in ids
    )
    return 1.0 + 2.0 * users + 2.0 * items - 2.0 * is_entity + math.log10(len(table.table) + 1)


def _best(log: SeenTable, column: str, tables: Sequence[SeenTable], role: str) -> Linked | None:
    found = [each for table in tables if (each := _link(log, column, table)) is not None]

    def fit(linked: Linked) -> tuple[bool, float, int]:
        key = linked.table.columns[linked.key]
        is_key = hint_of(linked.key, role) > 0 or key.is_unique
        return is_key, linked.shared, -len(linked.table.table)

    return max(found, key=fit, default=None)


def _link(log: SeenTable, column: str, table: SeenTable) -> Linked | None:
    """The column of ids of a table that has the values of a column of the events."""
    found = []
    for key in table.columns.values():
        if key.kind not in ("text", "number") or (key.kind == "number" and not key.is_whole):
            continue
        is_key = key.is_unique or key.name == column or key.n_distinct > 0.9 * key.n
        shared = share_of(log.table[column], table.table[key.name]) if is_key else 0.0
        if shared >= _LEAST_SHARED:
            found.append(Linked(table, key.name, shared))
    return max(found, key=lambda each: (each.shared, each.key == column), default=None)
