"""Nulls inside lists: Feast's messages have them for some types only."""

import pyarrow as pa
from feast.value_type import ValueType

from feast_fusion.errors import schema_error
from feast_fusion.online.codec.stored_types import type_name
from feast_fusion.parquet.column_types import is_list

_HAVE_NULLS = {
    ValueType[name]
    for name in (
        *("FLOAT_LIST", "DOUBLE_LIST", "UNIX_TIMESTAMP_LIST", "JSON_LIST", "VALUE_LIST"),
        *("FLOAT_SET", "DOUBLE_SET", "UNIX_TIMESTAMP_SET", "VALUE_SET"),
    )
}


def check_nulls_inside(where: str, column: pa.Array, kind: ValueType) -> None:
    """Refuse a null inside a list of a type that has none, where Feast would store a value for it.

    Raises
    ------
    SchemaError
        Names the first such row and list.
    """
    if not is_list(column.type) or kind in _HAVE_NULLS:
        return
    lists = column.drop_null()
    if not lists.flatten().null_count:
        return
    for row, value in enumerate(column.to_pylist()):
        if value is not None and None in value:
            raise schema_error(
                f"{where}, row {row}",
                got=f"a null inside the list {str(value)[:80]}",
                expected=f"values only: a list of {type_name(kind)} has no null in Feast",
                remedy="Leave the nulls out of the lists, or write another value for them.",
            )
