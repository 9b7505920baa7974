"""A column of timestamps of any kind, as microseconds since the epoch in UTC."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.parquet.column_types import is_text
from intake.declared_times import as_declared, in_zone
from intake.event_bounds import EARLIEST_US, LATEST_US, OUT_OF_RANGE
from intake.tables.section import TimeReading
from intake.time_readings import TICKS_PER_SECOND, ColumnOf, not_a_time

# ISO 8601 as it is met in files: a space for the T, no seconds, a comma, a zone without colon.
_ISO = (
    r"^\s*(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?<time>\d{2}:\d{2})(?<second>:\d{2})?(?:[.,](?<fraction>\d{1,9}))?)?"
    r"\s*(?:(?<utc>[Zz]|UTC)|(?<sign>[+-])(?<hours>\d{2})(?::?(?<minutes>\d{2}))?)?\s*$"
)
NULL, NO_ZONE = "null {}", "{} without zone"
UNPARSABLE = "unparsable {}"


@dataclass(frozen=True)
class ParsedTimes:
    """n parsed timestamps.

    Attributes
    ----------
    time : (n,) int64 microseconds since the epoch, 0 where there is a defect
    defects : (n,) bool per defect, keyed by its wording; a row has one defect at most
    read : the column as it was declared to be meant
    """

    time: NDArray[np.int64]
    defects: dict[str, NDArray[np.bool_]]
    read: pa.ChunkedArray


def parse_times(
    column: pa.ChunkedArray,
    column_of: ColumnOf,
    now: datetime,
    reading: TimeReading | None = None,
    *,
    is_bound: bool = False,
) -> ParsedTimes:
    """The instants of `column`: timestamps of any unit and zone, or ISO 8601 strings with a zone.

    With `reading` they are also numbers of a unit, texts of a format, and times of a zone; times
    that say all that themselves stay as they are. Finer units are cut to microseconds. Rows that
    are null, have no zone, cannot be parsed, or lie outside the years 1700 to 2199 are marked;
    of a bound (`is_bound`), such as 9999-12-31, those outside are the nearest time inside.

    Raises
    ------
    SchemaError
        The column is of another type.
    """
    reading = reading or TimeReading()
    read = as_declared(column, reading, now)
    if pa.types.is_timestamp(read.type) or pa.types.is_date(read.type):
        parsed = _parse_native(read, is_bound)
    elif pa.types.is_null(read.type):
        parsed = _parsed(np.zeros(len(column), np.int64), {})
    elif is_text(read.type):
        parsed = _parse_text(read, reading.zone, is_bound)
    else:
        raise not_a_time(column, column_of, now)
    is_null, is_lost = np.asarray(column.is_null()), np.asarray(read.is_null())
    unparsable = parsed.defects.get(UNPARSABLE, is_lost) | is_lost
    defects = {**parsed.defects, NULL: is_null, UNPARSABLE: unparsable & ~is_null}
    time = np.where(is_lost, 0, parsed.time)
    named = {words.format(column_of.name): bad for words, bad in defects.items()}
    return ParsedTimes(time, named, read)


@dataclass(frozen=True)
class _Parsed:
    """Times and defects so far, keyed by the wording without the name of the column."""

    time: NDArray[np.int64]
    defects: dict[str, NDArray[np.bool_]]


def _parsed(time: NDArray[np.int64], defects: dict[str, NDArray[np.bool_]]) -> _Parsed:
    for bad in defects.values():
        time = np.where(bad, 0, time)
    return _Parsed(time, defects)


def _parse_native(column: pa.ChunkedArray, is_bound: bool) -> _Parsed:
    n = len(column)
    if pa.types.is_date(column.type) or column.type.tz is None:
        return _parsed(np.zeros(n, np.int64), {NO_ZONE: np.asarray(column.is_valid())})
    ticks = np.asarray(pc.fill_null(column.cast(pa.int64()), 0))
    per_second = TICKS_PER_SECOND[column.type.unit]
    if per_second > 1_000_000:
        return _bounded(ticks // (per_second // 1_000_000), 1, is_bound)
    # bounded before the multiplication, which would wrap around
    return _bounded(ticks, 1_000_000 // per_second, is_bound)


def _bounded(ticks: NDArray[np.int64], factor: int, is_bound: bool) -> _Parsed:
    """Microseconds, `factor` to a tick."""
    first, last = EARLIEST_US // factor, LATEST_US // factor - 1
    inside = np.clip(ticks, first, last)
    if is_bound:
        return _parsed(inside * factor, {})
    return _parsed(inside * factor, {OUT_OF_RANGE: inside != ticks})


def _parse_text(column: pa.ChunkedArray, zone: str | None, is_bound: bool) -> _Parsed:
    text = pl.Series("text", column, dtype=pl.String)
    part = text.str.extract_groups(_ISO).struct.unnest()
    clock = pl.concat_str(
        pl.col("date"),
        pl.lit(" "),
        pl.col("time").fill_null("00:00"),
        pl.col("second").fill_null(":00"),
    )
    fraction = pl.col("fraction").fill_null("0").str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64)
    minutes = pl.col("hours").cast(pl.Int64) * 60 + pl.col("minutes").fill_null("0").cast(pl.Int64)
    offset = minutes.fill_null(0) * pl.when(pl.col("sign") == "-").then(-60_000_000).otherwise(
        60_000_000
    )
    local = clock.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).cast(pl.Int64)
    found = part.select(
        time=local + fraction - offset,
        has_zone=pl.col("utc").is_not_null() | pl.col("sign").is_not_null(),
    )
    if zone is not None:
        clocks = pa.chunked_array([found["time"].to_arrow().cast(pa.timestamp("us"))])
        there = pl.Series("there", in_zone(clocks, zone).cast(pa.int64()))
        found = found.with_columns(
            time=pl.when("has_zone").then("time").otherwise(there), has_zone=pl.lit(True)
        )
    is_parsed = found["time"].is_not_null().to_numpy()
    has_zone = found["has_zone"].to_numpy()
    has_text = np.asarray(column.is_valid())
    bounded = _bounded(found["time"].fill_null(0).to_numpy(), 1, is_bound)
    defects = {UNPARSABLE: has_text & ~is_parsed, NO_ZONE: is_parsed & ~has_zone}
    return _parsed(bounded.time, {**defects, **bounded.defects})
