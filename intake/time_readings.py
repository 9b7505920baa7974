"""Times that were read otherwise than they were meant: what they would be, and the key for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.parquet.column_types import is_text
from feast_fusion.times import to_micros

TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_DAY = "%Y%m%d"
# How published data sets write times: MIND, Goodreads, Amazon, Tmall and others.
_DATES = (
    *(_DAY, "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%Y.%m.%d", "%d.%m.%Y", "%d-%m-%Y", "%Y年%m月%d日"),
    *("%b %d, %Y", "%m %d, %Y", "%d %b %Y", "%d-%b-%Y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"),
)
_HOURS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f")
_FORMATS = (
    *("%a %b %d %H:%M:%S %z %Y", "%a, %d %b %Y %H:%M:%S %z", "%d %B %Y %H:%M:%S", "%B %d, %Y"),
    *(f"{date}{hour}" for date in _DATES for hour in _HOURS),
)
_SAMPLE_ROWS = 1_000
# No recommender has events from before; a time in this span is read as it was meant.
_FIRST_US = to_micros(datetime(1990, 1, 1, tzinfo=UTC))
_AHEAD_US = 366 * 86_400 * 1_000_000


@dataclass(frozen=True)
class ColumnOf:
    """A column of times in messages.

    Attributes
    ----------
    name : of the column
    what : file and column
    section : of dataset.toml, where its `time` stands
    """

    name: str
    what: str
    section: str

    def key(self, **reading: str) -> str:
        """The key of dataset.toml that says how the column is meant.

        >>> ColumnOf("event_timestamp", "a.csv", "items").key(unit="s")
        '`time = {unit = "s"}` in [items] of dataset.toml'
        """
        said = ", ".join(f'{key} = "{value}"' for key, value in reading.items())
        return f"`time = {{{said}}}` in [{self.section}] of dataset.toml"


def plausible_unit(ticks: int, now: datetime) -> str | None:
    """The unit in which `ticks` since the epoch lie between 1990 and a year from now; or None.

    Examples
    --------
    >>> now = datetime(2024, 6, 1, tzinfo=UTC)
    >>> plausible_unit(1_700_000_000, now), plausible_unit(1_700_000_000_000, now)
    ('s', 'ms')
    >>> plausible_unit(3, now)
    """
    latest = to_micros(now) + _AHEAD_US
    return next((u for u in _UNITS if _FIRST_US <= _micros(ticks, u) <= latest), None)


def middle_of(ticks: NDArray[np.int64]) -> int | None:
    """The median of the numbers (n,); None of none."""
    return int(np.partition(ticks, len(ticks) // 2)[len(ticks) // 2]) if len(ticks) else None


def refuse_other_unit(
    column: pa.ChunkedArray, times: NDArray[np.int64], column_of: ColumnOf, now: datetime
) -> None:
    """Nothing, unless most times of a column were read in another unit than they were counted in.

    Seconds that were read as milliseconds lie in January 1970; the other way in the year 55,000.

    Parameters
    ----------
    column : as it was read
    times : (n,) microseconds since the epoch of the usable rows, which a column of text is read by

    Raises
    ------
    SchemaError
        With both readings, and what corrects it.
    """
    ticks, read = times, "us"
    if pa.types.is_timestamp(column.type):
        ticks, read = np.asarray(column.drop_null().cast(pa.int64())), column.type.unit
    middle = middle_of(ticks)
    unit = None if middle is None else plausible_unit(middle, now)
    if middle is None or unit is None or unit == read:
        return
    remedy = f"Say the unit: {column_of.key(unit=unit)}."
    if is_text(column.type):
        name = column_of.name
        remedy = (
            "The texts were made so: read the numbers again, "
            f"`frame[{name!r}] = pandas.to_datetime(pandas.to_datetime(frame[{name!r}], "
            "format='ISO8601', utc=True)"
            f".astype('datetime64[us, UTC]').astype('int64'), unit={unit!r}, utc=True)`."
        )
    raise schema_error(
        column_of.what,
        got=f"{show_instant(middle, read)} for most rows, read as {_UNITS[read]}",
        expected=f"{show_instant(middle, unit)}, which the same numbers are as {_UNITS[unit]}",
        remedy=remedy,
    )


def not_a_time(column: pa.ChunkedArray, column_of: ColumnOf, now: datetime) -> SchemaError:
    """The error that a column of numbers, or of another type, holds no times yet."""
    found = pc.drop_null(column)
    if pa.types.is_floating(column.type):
        found = found.filter(pc.is_finite(found))
    examples = found[:_SAMPLE_ROWS].to_pylist()
    is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    numbers = [int(each) for each in examples] if is_number else []
    unit = plausible_unit(numbers[0], now) if numbers else None
    expected = "a timestamp with its zone, or ISO 8601 text with its zone"
    if unit is not None:
        instant = show_instant(numbers[0], unit)
        expected += f", such as {instant}, which it is as {_UNITS[unit]}"
    return schema_error(
        column_of.what,
        got=f"{column.type}, such as {examples[0]!r}" if examples else column.type,
        expected=expected,
        remedy=_remedy_of_numbers(numbers, unit, column_of),
    )


def _remedy_of_numbers(numbers: Sequence[int], unit: str | None, column_of: ColumnOf) -> str:
    if unit is not None:
        return f"Say the unit: {column_of.key(unit=unit)}."
    if known_format([str(number) for number in numbers]) == _DAY:
        return f"It looks like days: {column_of.key(format=_DAY, zone='UTC')}."
    name = column_of.name
    return (
        "It is no time since 1990 in any unit. Name the column that has the times, such as "
        f'`columns = {{{name} = "timestamp", {name}_number = "{name}"}}` in '
        f"[{column_of.section}] of dataset.toml."
    )


def remedy_without_zone(column_of: ColumnOf) -> str:
    """How a column whose times have no zone gets one."""
    return (
        f"Say the zone of {column_of.name}; where they are UTC: {column_of.key(zone='UTC')}; where "
        f"they are of China: {column_of.key(zone='Asia/Shanghai')}."
    )


def remedy_unparsable(column: pa.ChunkedArray, column_of: ColumnOf, now: datetime) -> str:
    """How a column of text that is no ISO 8601 becomes times, where its form is a known one."""
    texts = pc.utf8_trim_whitespace(column.drop_null().cast(pa.string()))[:_SAMPLE_ROWS].to_pylist()
    if texts and all(each.isdigit() for each in texts):
        unit = plausible_unit(int(texts[0]), now)
        if unit is not None:
            return (
                f"As {_UNITS[unit]} {texts[0]} is {show_instant(int(texts[0]), unit)}: "
                f"{column_of.key(unit=unit)}."
            )
    form = known_format(texts)
    if form is None:
        return (
            "Say its form in the codes of strptime; of '15 Nov 2019 08:55' it is "
            f"{column_of.key(format='%d %b %Y %H:%M', zone='UTC')}."
        )
    if "%z" in form:
        return f"Say the form of {column_of.name}: {column_of.key(format=form)}."
    return (
        f"Say the form of {column_of.name} and its zone; where it is UTC: "
        f"{column_of.key(format=form, zone='UTC')}."
    )


def known_format(texts: Sequence[str]) -> str | None:
    """The first form of published data sets that all `texts` have; None where none fits.

    Examples
    --------
    >>> known_format(["11/15/2019 8:55:22 AM"]), known_format(["Tue Nov 17 11:37:35 -0800 2009"])
    ('%m/%d/%Y %I:%M:%S %p', '%a %b %d %H:%M:%S %z %Y')
    >>> known_format(["2024/01/06 09:03"]), known_format(["6/1/2024 9:03", "13/1/2024 9:03"])
    ('%Y/%m/%d %H:%M', '%d/%m/%Y %H:%M')
    """
    return next((form for form in _FORMATS if texts and _all_have(texts, form)), None)


def _all_have(texts: Sequence[str], form: str) -> bool:
    # most forms do not fit the first text, and are found out by it alone
    if len(texts) > 1 and not _all_have(texts[:1], form):
        return False
    read = pd.to_datetime(pd.Series(texts, dtype="string"), format=form, errors="coerce", utc=True)
    return bool(read.notna().all() and read.dt.year.between(1900, 2100).all())


def _micros(ticks: int, unit: str) -> int:
    return ticks * 1_000_000 // TICKS_PER_SECOND[unit]


def show_instant(ticks: int, unit: str) -> str:
    """An instant for a person; years that no calendar of Python has are counted.

    Examples
    --------
    >>> show_instant(1_700_000_000, "s"), show_instant(1_700_000_000_000, "s")
    ('2023-11-14T22:13:20Z', 'the year 55840')
    """
    try:
        instant = datetime.fromtimestamp(ticks // TICKS_PER_SECOND[unit], UTC)
    except (ValueError, OverflowError, OSError):
        return f"the year {1970 + ticks // TICKS_PER_SECOND[unit] // 31_556_952}"
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
