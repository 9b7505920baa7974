"""Single values as a client gives them, read; what cannot be used says why."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from feast_fusion.times import to_micros

MAX_CHARACTERS = 512  # of an id or type
CLOCK_SKEW = timedelta(minutes=5)  # how far ahead a client's clock may be

_MAX_INTEGER = 10**18


class GivenError(Exception):
    """A value cannot be used, and why.

    Attributes
    ----------
    field : which one; None where it is not one alone
    """

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


def kind_of(value: object) -> str:
    """What a value of JSON is, in words.

    >>> kind_of("4"), kind_of(4), kind_of(True), kind_of([4]), kind_of({})
    ('text', 'a number', 'true', 'a list', 'an object')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return "text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def read_key(given: Mapping[str, Any], name: str) -> str:
    """An id, which must be there."""
    text = read_name(given, name)
    if text is None:
        raise GivenError(f"null {name}", name)
    return text


def read_name(given: Mapping[str, Any], name: str) -> str | None:
    """A short text, such as an id: also of a whole number; None where there is none."""
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= _MAX_INTEGER:  # printing one of thousands of digits takes seconds
            raise GivenError(f"{name} is an integer of more than 18 digits, expected text", name)
        value = str(value)
    text = read_text(value, name, MAX_CHARACTERS)
    if not text:
        raise GivenError(f"empty {name}", name)
    return text


def read_text(value: object, name: str, longest: int) -> str:
    """A text of at most `longest` characters."""
    if not isinstance(value, str):
        raise GivenError(f"{name} is {kind_of(value)}, expected text", name)
    if len(value) > longest:
        raise GivenError(f"{name} longer than {longest} characters", name)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which no store can keep
            raise GivenError(f"{name} is not valid Unicode", name) from None
    return value


def read_time(value: object, name: str, latest: int | None = None) -> int:
    """An aware time, also as ISO 8601, in microseconds since the epoch.

    Parameters
    ----------
    latest : now, which it may pass by `CLOCK_SKEW`; None where any time will do
    """
    if value is None:
        raise GivenError(f"null {name}", name)
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            raise GivenError(f"{name} without zone", name)
        time = to_micros(found)
    except (ValueError, OverflowError):
        raise GivenError(f"unparsable {name}", name) from None
    if latest is not None and time > latest + CLOCK_SKEW // timedelta(microseconds=1):
        raise GivenError(f"{name} in the future", name)
    return time


def read_number(value: object, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise GivenError(f"{name} is {kind_of(value)}, expected a number", name)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise GivenError(f"infinite {name}", name)
    return number
