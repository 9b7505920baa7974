"""Which live events can be used, and why the others cannot, before they are journaled."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from feast_fusion.errors import SchemaError
from feast_fusion.times import to_micros
from intake.context import ContextColumns, encode_context
from intake.event import EVENTS, Event
from intake.given_values import (
    MAX_CHARACTERS,
    GivenError,
    kind_of,
    read_key,
    read_name,
    read_number,
    read_time,
)
from serving.live.live_event import LiveEvent, Outcome
from serving.live.prepared_history import PreparedHistory

FIELDS = tuple(name for name in EVENTS.names if name != "received")


def screen_events(
    events: Sequence[Mapping[str, Any]], history: PreparedHistory, now: datetime
) -> list[LiveEvent | Outcome]:
    """Each event as it is journaled and applied, or why not; `now` is when they were received."""
    received = to_micros(now)
    parsed = [_parse(raw, received, history.context) for raw in events]
    screened = iter(history.screen([each for each in parsed if isinstance(each, Event)]))
    return [next(screened) if isinstance(each, Event) else each for each in parsed]


def _parse(raw: Mapping[str, Any], now: int, context: ContextColumns) -> Event | Outcome:
    try:
        return _event(raw, now, context)
    except GivenError as error:
        event_id = raw.get("event_id") if isinstance(raw, Mapping) else None
        is_id = isinstance(event_id, str) and len(event_id) <= MAX_CHARACTERS
        return Outcome("rejected", event_id if is_id else None, str(error))


def _event(raw: Mapping[str, Any], now: int, context: ContextColumns) -> Event:
    if not isinstance(raw, Mapping):
        raise GivenError(f"got {kind_of(raw)}, expected an object")
    unknown = [str(name) for name in raw if name not in FIELDS]
    if unknown:
        known = ", ".join(FIELDS)
        raise GivenError(f"unknown field {unknown[0][:MAX_CHARACTERS]!r}, expected one of {known}")
    return Event(
        event_id=read_name(raw, "event_id") or uuid.uuid4().hex,
        user_id=read_key(raw, "user_id"),
        item_id=read_key(raw, "item_id"),
        time=read_time(raw.get("event_timestamp"), "event_timestamp", now),
        value=None if raw.get("value") is None else read_number(raw["value"], "value"),
        event_type=read_name(raw, "event_type"),
        received=now,
        context=_context(raw.get("context"), context),
    )


def _context(given: object, columns: ContextColumns) -> str | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise GivenError(f"context is {kind_of(given)}, expected an object")
    for value in given.values():
        if isinstance(value, str):
            read_name({"context": value or None}, "context")
    try:
        return encode_context(columns.check(given))
    except SchemaError as error:
        raise GivenError(str(error)) from None
