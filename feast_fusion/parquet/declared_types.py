"""A source column as its Feast field declares it: one conversion, for history and for serving."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast import Field
from feast.feature_view import DUMMY_ENTITY_ID
from feast.types import FeastType, from_feast_to_pyarrow_type
from feast.value_type import ValueType

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import Column, is_list, is_text
from feast_fusion.times import TIMESTAMP

_NUMBER, _TEXT, _TIME, _UNKNOWN = "numbers", "text", "times", "unknown"
_FAMILIES = {
    "INT32": _NUMBER,
    "INT64": _NUMBER,
    "FLOAT": _NUMBER,
    "DOUBLE": _NUMBER,
    "BOOL": _NUMBER,
    "STRING": _TEXT,
    "UNIX_TIMESTAMP": _TIME,
}
_BYTES = ("BYTES", "PDF_BYTES", "IMAGE_BYTES")


def arrow_type(dtype: FeastType) -> pa.DataType:
    """The Arrow type of a Feast type; Feast itself has none for bytes and maps of scalars."""
    name = _value_type(dtype)
    if name.removesuffix("_LIST").removesuffix("_SET") in _BYTES:
        return pa.binary() if name in _BYTES else pa.list_(pa.binary())
    if name == "SCALAR_MAP":
        return pa.map_(pa.string(), pa.string())
    return from_feast_to_pyarrow_type(dtype)


def view_types(view: Any) -> pa.Schema:
    """Join keys, features, event timestamp and created timestamp of `view`, each once."""
    # Feast lists the join keys of a StreamFeatureView, or of a declared schema, as features too.
    keys = [field for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    names = dict.fromkeys(field.name for field in [*keys, *view.features])
    types = {field.name: arrow_type(field.dtype) for field in [*view.features, *keys]}
    source = view.batch_source
    times = (source.timestamp_field, source.created_timestamp_column)
    return pa.schema({name: types[name] for name in names} | {n: TIMESTAMP for n in times if n})


def declared_type(field: Field, found: pa.DataType, where: str) -> pa.DataType:
    """The type in which Feast stores a source column of type `found` for `field`.

    Numbers, booleans among them, are stored as the number declared, and as text where the field
    is a String. Numbers for a UnixTimestamp are seconds. A type that Feast stores in several ways
    (maps, JSON, sets, bytes) stays as it is.

    Raises
    ------
    SchemaError
        The column cannot hold what `field` declares; the message names `where`.
    """
    declared = _value_type(field.dtype)
    expected = _FAMILIES.get(declared.removesuffix("_LIST"))
    actual = _family(found.value_type if is_list(found) else found)
    if expected is None or actual == _UNKNOWN:
        return found
    is_known = actual == expected or (actual == _NUMBER and expected in (_TEXT, _TIME))
    if pa.types.is_null(found) or (is_list(found) == declared.endswith("_LIST") and is_known):
        return _plainly(arrow_type(field.dtype))
    raise schema_error(
        f"{where}, feature {field.name!r}",
        got=found,
        expected=f"{'lists of ' if is_list(arrow_type(field.dtype)) else ''}{expected}, as "
        f"{field.dtype} declares",
        remedy="The schema of the source has changed: write it again, or correct the view.",
    )


def returned_type(stored: pa.DataType, found: pa.DataType) -> pa.DataType:
    """The type in which history returns values of type `stored` of a column of type `found`.

    As with Feast's own stores, a double stays one where a Float32 is declared, and an int64 where
    an Int32 is; the values are those that are served, a double's rounded to 32 bits.
    """
    own = stored.value_type if is_list(stored) else stored
    wide = found.value_type if is_list(found) else found
    is_wider = (pa.types.is_float32(own) and pa.types.is_float64(wide)) or (
        pa.types.is_int32(own) and pa.types.is_int64(wide)
    )
    return found if is_wider else stored


def as_declared(column: Column, target: pa.DataType, what: str) -> Column:
    """`column` as `target`, the type that `declared_type` gives.

    As Feast stores them: a NaN that is no part of a list is null, a null in a list of floats is
    NaN, and a time has whole seconds, rounded down.

    Raises
    ------
    SchemaError
        A value does not fit, for instance 1.5 in an Int64; the message names `what`.
    """
    if isinstance(column, pa.ChunkedArray):
        chunks = [as_declared(chunk, target, what) for chunk in column.chunks]
        return pa.chunked_array(chunks, target)
    try:
        if not is_list(target):
            return _scalars(column, target)
        if not is_list(column.type):  # all of it is null
            return column.cast(target)
        return _lists(column, target)
    except pa.ArrowInvalid as error:
        raise schema_error(
            what,
            got=str(error),
            expected=f"values that fit {target}, as the view declares",
            remedy="Correct the data, or the type that the feature is declared with.",
        ) from error


def _lists(column: pa.Array, target: pa.DataType) -> pa.Array:
    before = column.flatten()
    values = _converted(before, target.value_type)
    if pa.types.is_floating(target.value_type) and values.null_count:
        values = pc.fill_null(values, float("nan"))
    if values is before and column.type == target:
        return column
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
    mask = column.is_null() if column.null_count else None
    return pa.ListArray.from_arrays(offsets, values, type=target, mask=mask)


def _scalars(column: pa.Array, target: pa.DataType) -> pa.Array:
    if pa.types.is_floating(column.type) and pc.any(is_nan := pc.is_nan(column)).as_py():
        column = pc.if_else(is_nan, None, column)
    return _converted(column, target)


def _converted(values: pa.Array, target: pa.DataType) -> pa.Array:
    if target == TIMESTAMP:
        return _whole_seconds(values)
    if values.type == target:
        return values
    if is_text(target) and not (is_text(values.type) or pa.types.is_integer(values.type)):
        return pa.array([None if v is None else str(v) for v in values.to_pylist()], target)
    return values.cast(target, safe=not pa.types.is_floating(target))


def _whole_seconds(values: pa.Array) -> pa.Array:
    if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
        values = values.cast(TIMESTAMP) if values.type != TIMESTAMP else values
        floored = pc.floor_temporal(values, unit="second")
        return values if floored.equals(values) else floored
    return (
        pc.floor(values.cast(pa.float64(), safe=False))
        .cast(pa.int64())
        .cast(pa.timestamp("s", "UTC"))
        .cast(TIMESTAMP)
    )


def _plainly(found: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("item", found.value_type)) if is_list(found) else found


def _value_type(dtype: FeastType) -> str:
    return str(ValueType(dtype.to_value_type()).name)


def _family(found: pa.DataType) -> str:
    if is_text(found):
        return _TEXT
    if pa.types.is_timestamp(found) or pa.types.is_date(found):
        return _TIME
    t = pa.types
    numbers: tuple[Callable[[pa.DataType], bool], ...] = (
        t.is_integer,
        t.is_floating,
        t.is_decimal,
        t.is_boolean,
    )
    return _NUMBER if any(kind(found) for kind in numbers) else _UNKNOWN
