"""Which live events can be used, and why the others cannot, before they are journaled."""

import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from feast_fusion.errors import SchemaError
from feast_fusion.times import to_micros
from intake.context import ContextColumns, encode_context
from intake.event import EVENTS, Event
from serving.live.live_event import LiveEvent, Outcome
from serving.live.prepared_history import PreparedHistory

FIELDS = tuple(name for name in EVENTS.names if name != "received")
MAX_CHARACTERS = 512  # of an id or type
CLOCK_SKEW = timedelta(minutes=5)  # how far ahead a client's clock may be

_MAX_INTEGER = 10**18


def screen_events(
    events: Sequence[Mapping[str, Any]], history: PreparedHistory, now: datetime
) -> list[LiveEvent | Outcome]:
    """Each event as it is journaled and applied, or why not; `now` is when they were received."""
    received = to_micros(now)
    parsed = [_parse(raw, received, history.context) for raw in events]
    screened = iter(history.screen([each for each in parsed if isinstance(each, Event)]))
    return [next(screened) if isinstance(each, Event) else each for each in parsed]


class _RejectedError(Exception):
    """An event cannot be used, and why."""


def _parse(raw: Mapping[str, Any], now: int, context: ContextColumns) -> Event | Outcome:
    try:
        return _event(raw, now, context)
    except _RejectedError as error:
        event_id = raw.get("event_id") if isinstance(raw, Mapping) else None
        is_id = isinstance(event_id, str) and len(event_id) <= MAX_CHARACTERS
        return Outcome("rejected", event_id if is_id else None, str(error))


def _event(raw: Mapping[str, Any], now: int, context: ContextColumns) -> Event:
    if not isinstance(raw, Mapping):
        raise _RejectedError(f"got {type(raw).__name__}, expected an object")
    unknown = [str(name) for name in raw if name not in FIELDS]
    if unknown:
        raise _RejectedError(f"unknown field {unknown[0][:MAX_CHARACTERS]!r}")
    return Event(
        event_id=_text(raw, "event_id") or uuid.uuid4().hex,
        user_id=_key(raw, "user_id"),
        item_id=_key(raw, "item_id"),
        time=_time(raw.get("event_timestamp"), now),
        value=_value(raw.get("value")),
        event_type=_text(raw, "event_type"),
        received=now,
        context=_context(raw.get("context"), context),
    )


def _context(given: object, columns: ContextColumns) -> str | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise _RejectedError(f"context is a {type(given).__name__}, expected an object")
    for value in given.values():
        if isinstance(value, str):
            _text({"context": value or None}, "context")
    try:
        return encode_context(columns.check(given))
    except SchemaError as error:
        raise _RejectedError(str(error)) from None


def _key(raw: Mapping[str, Any], name: str) -> str:
    text = _text(raw, name)
    if text is None:
        raise _RejectedError(f"null {name}")
    return text


def _text(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= _MAX_INTEGER:  # printing one of thousands of digits takes seconds
            raise _RejectedError(f"{name} is an integer of more than 18 digits, expected a string")
        value = str(value)
    if not isinstance(value, str):
        raise _RejectedError(f"{name} is a {type(value).__name__}, expected a string")
    if not value:
        raise _RejectedError(f"empty {name}")
    if len(value) > MAX_CHARACTERS:
        raise _RejectedError(f"{name} longer than {MAX_CHARACTERS} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which no store can keep
            raise _RejectedError(f"{name} is not valid Unicode") from None
    return value


def _time(value: object, now: int) -> int:
    if value is None:
        raise _RejectedError("null event_timestamp")
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            raise _RejectedError("event_timestamp without zone")
        time = to_micros(found)
    except (ValueError, OverflowError):
        raise _RejectedError("unparsable event_timestamp") from None
    if time > now + CLOCK_SKEW // timedelta(microseconds=1):
        raise _RejectedError("event_timestamp in the future")
    return time


def _value(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RejectedError(f"value is a {type(value).__name__}, expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _RejectedError("infinite value")
    return number
