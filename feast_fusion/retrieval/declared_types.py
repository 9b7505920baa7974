"""Whether a source column can hold what its Feast field declares."""

import pyarrow as pa
from feast import Field
from feast.value_type import ValueType

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import is_list, is_text

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


def check_declared(field: Field, found: pa.DataType, where: str) -> None:
    """Raise `SchemaError`, naming `where`, when `found` is of another family than `field`.

    Families are numbers, text, times and lists of these; a number of another width is allowed,
    as is a type that Feast stores in several ways (maps, JSON, sets, bytes).
    """
    declared = ValueType(field.dtype.to_value_type()).name
    expected_list = declared.endswith("_LIST")
    expected = _FAMILIES.get(declared.removesuffix("_LIST"))
    actual = _family(found.value_type if is_list(found) else found)
    if expected is None or pa.types.is_null(found) or actual == _UNKNOWN:
        return
    is_epoch = expected == _TIME and actual == _NUMBER
    if is_list(found) == expected_list and (actual == expected or is_epoch):
        return
    raise schema_error(
        f"{where}, feature {field.name!r}",
        got=found,
        expected=f"{'lists of ' if expected_list else ''}{expected}, as {field.dtype} declares",
        remedy="The schema of the source has changed: write it again, or correct the view.",
    )


def _family(found: pa.DataType) -> str:
    if is_text(found):
        return _TEXT
    if pa.types.is_timestamp(found) or pa.types.is_date(found):
        return _TIME
    t = pa.types
    numbers = (t.is_integer, t.is_floating, t.is_decimal, t.is_boolean)
    return _NUMBER if any(kind(found) for kind in numbers) else _UNKNOWN
