"""The type of a stored value, which its first bytes tell, and the type that a feature declares."""

import numpy as np
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import VALUE_TYPE_TO_PROTO_VALUE_MAP
from feast.types import from_value_type
from feast.value_type import ValueType
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.online.codec.varints import varint

# Feast's own table, and the types that it stores under another's name or leaves out.
_FIELDS: dict[ValueType, str] = VALUE_TYPE_TO_PROTO_VALUE_MAP | {
    ValueType.PDF_BYTES: "bytes_val",
    ValueType.IMAGE_BYTES: "bytes_val",
    ValueType.ZONED_TIMESTAMP: "zoned_timestamp_val",
}
_KINDS = {field: kind for kind, field in reversed(_FIELDS.items())}
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_WIRES = {"double_val": _FIXED64, "float_val": _FIXED32} | dict.fromkeys(
    ("int32_val", "int64_val", "bool_val", "unix_timestamp_val"), _VARINT
)


def value_tag(kind: ValueType) -> bytes:
    """What every stored value of a type starts with, and no value of a type stored otherwise."""
    name = _FIELDS[kind]
    number = ValueProto.DESCRIPTOR.fields_by_name[name].number
    return varint(number << 3 | _WIRES.get(name, _LENGTH_DELIMITED))


def bytes_after(head: bytes, size: int, stored: list[bytes]) -> NDArray[np.uint8] | None:
    """(n, size) bytes that follow `head` in every value; None when one has another form."""
    joined = b"".join(stored)
    n, each = len(stored), len(head) + size
    if len(joined) != n * each:
        return None
    rows = np.frombuffer(joined, dtype=np.uint8).reshape(n, each)
    if not (rows[:, : len(head)] == np.frombuffer(head, dtype=np.uint8)).all():
        return None
    return np.ascontiguousarray(rows[:, len(head) :])


def type_name(kind: ValueType) -> str:
    """The type as a view's schema calls it."""
    try:
        return str(from_value_type(kind))
    except ValueError:  # Feast has no type of its own for it
        return str(kind.name)


def wrong_type(where: str, stored: bytes, declared: str) -> SchemaError:
    """The error of a value that an earlier schema of its view wrote."""
    found = ValueProto.FromString(stored).WhichOneof("val")
    kind = _KINDS.get(str(found))
    return schema_error(
        where,
        got=f"a stored {found if kind is None else type_name(kind)}",
        expected=declared,
        remedy="The stored row is of an earlier schema: materialize the view again.",
    )
