"""One event of a user with an item, as it is journaled, and a table of such events."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from intake.context import ContextColumns, decode_context

EVENTS = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("value", pa.float64()),  # null where the event has none
        ("event_type", pa.string()),  # null where the event has none
        ("received", TIMESTAMP),
        ("context", pa.string()),  # JSON of what was around it; null where there is nothing
    ]
)


class Event(NamedTuple):
    """An event in the order of `EVENTS`; its times are microseconds since the epoch, UTC."""

    event_id: str
    user_id: str
    item_id: str
    time: int
    value: float | None
    event_type: str | None
    received: int
    context: str | None = None


def with_columns_of(table: pa.Table, fields: Iterable[pa.Field]) -> pa.Table:
    """`table` with a column of nulls for each field that it lacks."""
    for field in fields:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table


def journal_columns(events: pa.Table, context: ContextColumns) -> pa.Table:
    """Events of the journal as rows of an interactions file: their context column by column."""
    known = [decode_context(text) for text in events["context"].to_pylist()]
    table = events.drop_columns(["received", "context"])
    for name, column in context.columns(known).items():
        table = table.append_column(name, column)
    return table


def events_to_table(events: Sequence[Event]) -> pa.Table:
    """A table of the schema `EVENTS`, one row per event."""
    columns = zip(*events, strict=True) if events else ([] for _ in EVENTS)
    arrays = [
        pa.array(column, pa.int64()).cast(field.type)
        if pa.types.is_timestamp(field.type)
        else pa.array(column, field.type)
        for field, column in zip(EVENTS, columns, strict=True)
    ]
    return pa.table(arrays, schema=EVENTS)


def table_to_events(table: pa.Table) -> list[Event]:
    """The events of a table of the schema `EVENTS`."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in table.columns
    ]
    return list(map(Event, *(column.to_pylist() for column in columns)))
