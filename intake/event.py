"""One event of a user with an item, as it is journaled, and a table of such events."""

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from intake.context import ContextColumns, decode_context
from intake.record_format import Key, RecordFormat

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


def _keys_of(event: Event) -> tuple[Key, Key]:
    return ("user", event.user_id), ("item", event.item_id)


EVENT_FORMAT = RecordFormat(Event, EVENTS, _keys_of)


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
