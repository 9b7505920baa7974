"""Values of every Feast type, as users give them."""

import decimal
import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from feast.value_type import ValueType
from hypothesis import strategies as st

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
TEXT = st.text(max_size=200)
# Feast keys and stores whole seconds; the very first is its null.
TIMES = st.datetimes(datetime(1902, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
_JSON = st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "BYTES": st.binary(min_size=1, max_size=200),
    "STRING": TEXT,
    "INT32": INT32,
    "INT64": INT64,
    "DOUBLE": st.floats(),
    "FLOAT": st.floats(width=32),
    "BOOL": st.booleans(),
    "UNIX_TIMESTAMP": TIMES,
    "UUID": st.uuids(),
    "TIME_UUID": st.uuids(version=1),
    "DECIMAL": st.decimals(allow_nan=False, allow_infinity=False).map(decimal.Decimal),
    "JSON": _JSON.map(json.dumps),
    "MAP": st.dictionaries(st.text(max_size=5), st.text(max_size=5), min_size=1, max_size=3),
    "STRUCT": st.dictionaries(st.text(max_size=5), st.integers(0, 9), min_size=1, max_size=3),
    "SCALAR_MAP": st.dictionaries(st.integers(0, 9), st.text(max_size=5), min_size=1, max_size=3),
    "ZONED_TIMESTAMP": TIMES.map(lambda at: at.astimezone(ZoneInfo("Europe/Berlin"))),
}
_IN_LISTS = SCALARS.keys() - {"SCALAR_MAP", "ZONED_TIMESTAMP"}
_IN_SETS = _IN_LISTS - {"JSON", "MAP", "STRUCT"}

VALUES: dict[str, st.SearchStrategy[Any]] = {
    **SCALARS,
    **{f"{name}_LIST": st.lists(SCALARS[name], max_size=4) for name in sorted(_IN_LISTS)},
    **{f"{name}_SET": st.sets(SCALARS[name], min_size=1, max_size=4) for name in sorted(_IN_SETS)},
    "VALUE_LIST": st.lists(st.lists(TEXT, min_size=1, max_size=2), min_size=1, max_size=3),
    "VALUE_SET": st.lists(st.lists(TEXT, min_size=1, max_size=2), min_size=1, max_size=3),
}
# What Feast stores under a name of another type, and has no value of its own for.
_STORED_AS_OTHERS = {"UNKNOWN", "NULL", "PDF_BYTES", "IMAGE_BYTES"}

TYPES = sorted(kind.name for kind in ValueType if kind.name not in _STORED_AS_OTHERS)


def same(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN, also inside lists."""
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (left != left and right != right)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, set) and isinstance(right, set):
        return {str(each) for each in left} == {str(each) for each in right}
    return bool(left == right)
