"""A column of times as dataset.toml says that it is meant: numbers of a unit, texts of a format."""

from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.parquet.column_types import is_text
from intake.tables.section import TimeReading
from intake.time_readings import middle_of, plausible_unit

_MAX_INT64 = 9.2e18


def as_declared(column: pa.ChunkedArray, reading: TimeReading, now: datetime) -> pa.ChunkedArray:
    """The column as `reading` has it; null where it cannot be read so.

    A column that says by itself what `reading` says stays as it is: times that have a zone, times
    whose unit makes sense, texts in ISO 8601 of which none is a number or has the format.
    """
    if reading.unit is not None:
        ticks = _ticks(column, now)
        if ticks is not None:
            return _timestamps(ticks, reading.unit)
    if reading.format is not None and (is_text(column.type) or pa.types.is_integer(column.type)):
        read = _by_format(column.cast(pa.string()), reading.format)
        if read.null_count < len(read):
            column = read
    is_zoneless = pa.types.is_timestamp(column.type) and column.type.tz is None
    if reading.zone is not None and (is_zoneless or pa.types.is_date(column.type)):
        column = in_zone(column.cast(pa.timestamp("us"), safe=False), reading.zone)
    return column


def in_zone(column: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """The instants of clocks in a zone, in UTC; of an hour that occurs twice, the first."""
    known = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
    return known.cast(pa.timestamp("us", "UTC"))


def _ticks(column: pa.ChunkedArray, now: datetime) -> pa.ChunkedArray | None:
    """The numbers that a column counts by; None where it has texts that are none, or is meant."""
    if pa.types.is_timestamp(column.type):
        ticks = column.cast(pa.int64())
        middle = middle_of(np.asarray(ticks.drop_null()))
        is_meant = middle is None or plausible_unit(middle, now) in (column.type.unit, None)
        return None if is_meant else ticks
    if is_text(column.type):
        found = pl.Series("", column).str.strip_chars()
        whole = found.cast(pl.Int64, strict=False)
        if whole.null_count() > found.null_count():
            whole = found.cast(pl.Float64, strict=False)
        return None if whole.null_count() == len(whole) else pa.chunked_array([whole.to_arrow()])
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return column if any(kind(column.type) for kind in is_number) else None


def _timestamps(ticks: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    if pa.types.is_integer(ticks.type):
        return ticks.cast(pa.int64()).cast(pa.timestamp(unit, "UTC"))
    number = pl.Series("", ticks.cast(pa.float64())).fill_nan(None)
    number = number.set(number.abs() > _MAX_INT64, None)
    if not (number.floor() == number).all():
        finer = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
        number, unit = (number * finer[unit]).round(), "us"
        number = number.set(number.abs() > _MAX_INT64, None)
    whole = number.cast(pl.Int64).to_arrow()
    return pa.chunked_array([whole.cast(pa.timestamp(unit, "UTC"))])


def _by_format(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    """Times without zone, or in UTC where the format reads one; each distinct text is read once."""
    coded = pc.utf8_trim_whitespace(column).combine_chunks().dictionary_encode()
    texts = pd.Series(coded.dictionary.to_pylist(), dtype="string")
    has_zone = "%z" in form or "%Z" in form
    read = pd.to_datetime(texts, format=form, errors="coerce", utc=has_zone)
    kind = pa.timestamp("us", "UTC" if has_zone else None)
    times = pa.array(read, from_pandas=True).cast(kind, safe=False)
    return pa.chunked_array([times.take(coded.indices)])
