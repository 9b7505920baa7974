"""What the files have and nothing reads, or dataset.toml names and no file has: named once."""

from collections.abc import Iterable

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from intake.dataset import Dataset
from intake.event import EVENTS
from intake.name_hints import hint_of
from intake.near_name import did_you_mean
from intake.screening import Screening

_SHOWN = 5


def notes_on_unused(
    dataset: Dataset,
    items: Screening,
    users: Screening | None,
    events: Screening,
    interactions: pa.Table,
) -> list[str]:
    """A sentence for each kind of thing that is not used; empty where all is used."""
    notes = []
    read = {"item_id", "event_timestamp", "created", *dataset.items.read_columns}
    notes += _columns(items, read, "name them in [items] as numeric, categorical or in text")
    if users is not None and dataset.users is not None:
        read = {"user_id", "event_timestamp", "created", *dataset.users.used_columns}
        notes += _columns(users, read, "name them in [users] as numeric or categorical")
    read = {*EVENTS.names} - {"received", "context"} | _named_by(dataset.interactions.condition)
    read |= {*dataset.interactions.context.given}
    if (name := _event_id(events, read)) is not None:
        read |= {name}
        notes.append(
            f"Not used: {name!r} of {events.label}; each event has its own, as an event_id: "
            f'`columns = {{event_id = "{name}"}}` in [interactions].'
        )
    use = "name them in [interactions.context] or in positive of [interactions]"
    notes += _columns(events, read, use)
    return notes + _event_types(dataset, interactions)


def _columns(found: Screening, read: Iterable[str], use: str) -> list[str]:
    unused = sorted(set(found.table.column_names) - set(read))
    if not unused:
        return []
    return [f"Not used: {_list(unused)} of {found.label}; {use}."]


def _event_id(events: Screening, read: Iterable[str]) -> str | None:
    """A column that is called like an id of events, and of which each usable row has its own."""
    if "event_id" in events.table.column_names:
        return None
    unread: list[str] = sorted(set(events.table.column_names) - set(read), key=_clarity)
    for name in (each for each in unread if hint_of(each, "event")):
        column = events.table[name].filter(pa.array(events.is_usable))
        if not column.null_count and len(pc.unique(column)) == len(column):
            return name
    return None


def _clarity(name: str) -> tuple[int, str]:
    return -hint_of(name, "event"), name


def _event_types(dataset: Dataset, interactions: pa.Table) -> list[str]:
    """Types with a rule in `[interactions.types]` that no event has, and types without one."""
    present: list[str] = []
    if "event_type" in interactions.column_names:
        present = sorted(pc.unique(interactions["event_type"]).drop_null().to_pylist())
    ruled = set(dataset.interactions.types)
    absent, plain = sorted(ruled - set(present)), sorted(set(present) - ruled)
    notes = []
    if absent:
        has = f"the events have {_list(present)}" if present else "the events have no event_type"
        meant = did_you_mean(absent[0], present)
        notes.append(f"Not used: [interactions.types] of {_list(absent)}; {has}.{meant}")
    if ruled and plain:
        notes.append(
            f"No rule of their own in [interactions.types]: {_list(plain)}; they have the defaults."
        )
    return notes


def _named_by(expression: str | None) -> set[str]:
    return set(pl.sql_expr(expression).meta.root_names()) if expression else set()


def _list(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
