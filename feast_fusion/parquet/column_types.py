"""Arrow columns in their plain form: times as microseconds UTC, no large, fixed or coded types."""

from typing import Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.times import TIMESTAMP

Column: TypeAlias = pa.Array | pa.ChunkedArray

_US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NS_PER_US = 1_000


def plain_type(found: pa.DataType) -> pa.DataType:
    """The type in which a column of type `found` is returned.

    Timestamps become microseconds UTC; large, view, dictionary and fixed-size list types become
    the plain string, binary or list; every other type stays.
    """
    if pa.types.is_timestamp(found):
        return TIMESTAMP
    if pa.types.is_dictionary(found):
        return plain_type(found.value_type)
    if pa.types.is_large_string(found) or pa.types.is_string_view(found):
        return pa.string()
    if pa.types.is_large_binary(found) or pa.types.is_binary_view(found):
        return pa.binary()
    if is_list(found):
        return pa.list_(pa.field("item", plain_type(found.value_type)))
    return found


def plain(column: Column, target: pa.DataType) -> Column:
    """`column` as `target`, a type that `plain_type` returned; finer times are rounded down."""
    if column.type == target:
        return column
    if target == TIMESTAMP:
        return to_microseconds(column, "down", "column of times")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(target, safe=not _holds_times(target))


def can_be_times(found: pa.DataType) -> bool:
    """Whether `to_microseconds` takes a column of type `found`; a number is no time."""
    kinds = (pa.types.is_timestamp, pa.types.is_date, pa.types.is_null, is_text)
    return any(kind(found) for kind in kinds)


def to_microseconds(column: Column, rounding: Literal["up", "down"], what: str) -> Column:
    """`column` of times as microseconds UTC; a time without a zone is UTC.

    Times are timestamps, dates, and text in the form of ISO 8601.

    Parameters
    ----------
    rounding : of a time finer than a microsecond
    what : how messages name the column

    Raises
    ------
    SchemaError
        The column holds no times.
    """
    found = plain_type(column.type)
    if is_text(found):
        column = _parsed(plain(column, found), what)
    if pa.types.is_null(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.timestamp("us")).cast(TIMESTAMP)
    if not pa.types.is_timestamp(column.type):
        raise _no_times(what, column.type)
    counts = column.cast(pa.timestamp(column.type.unit)).cast(pa.int64())
    if column.type.unit == "ns":
        counts = _ns_to_us(counts, rounding)
    elif column.type.unit != "us":
        counts = pc.multiply_checked(counts, _US_PER_UNIT[column.type.unit])
    return counts.cast(TIMESTAMP)


def _parsed(column: Column, what: str) -> pa.Array:
    try:
        return pa.array(pd.to_datetime(column.to_pandas(), utc=True, format="ISO8601"))
    except ValueError as error:
        raise _no_times(what, f"{column.type} ({str(error).splitlines()[0]})") from error


def _no_times(what: str, got: object) -> SchemaError:
    return schema_error(
        what,
        got=got,
        expected="timestamps, dates, or text in the form of ISO 8601",
        remedy="Convert the column, for instance with pandas.to_datetime, or name another one.",
    )


def _ns_to_us(counts: Column, rounding: Literal["up", "down"]) -> Column:
    whole = pc.divide(counts, _NS_PER_US)  # towards zero, so times before 1970 need the correction
    back = pc.multiply(whole, _NS_PER_US)
    if rounding == "down":
        return pc.if_else(pc.greater(back, counts), pc.subtract(whole, 1), whole)
    return pc.if_else(pc.less(back, counts), pc.add(whole, 1), whole)


def is_list(found: pa.DataType) -> bool:
    """Whether `found` is a list type of any kind."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(kind(found) for kind in kinds)


def is_text(found: pa.DataType) -> bool:
    """Whether `found` is a string type of any kind."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(kind(found) for kind in kinds)


def _holds_times(found: pa.DataType) -> bool:
    return _holds_times(found.value_type) if is_list(found) else bool(pa.types.is_timestamp(found))
