"""Serialized Feast values to numpy, a column at a time: no Python object per number.

A value is a protobuf message `Value` with one field set, so its bytes are a tag that tells the type
and a payload; b"" is null (protobuf encoding: https://protobuf.dev/programming-guides/encoding).
Columns whose bytes have the form that the feature's type is written in are decoded from their
joined bytes; whatever else is found is parsed by protobuf, value by value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from feast import Field
from feast.protos.feast.types.Value_pb2 import FloatList
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Float32
from feast.value_type import ValueType
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.online.codec.varints import FEW, joined_bytes, read_varints, varint

Stored = Sequence[bytes | None]

_FLOAT_LIST = b"\x82\x01"  # field 16, length-delimited
_BYTES = b"\x0a"  # field 1, length-delimited
_NULLS: dict[str, Any] = {"f": np.nan, "M": "NaT", "O": None}  # by numpy's kind; 0 of the others


class Ragged(NamedTuple):
    """Lists of varying length: row i is `values[offsets[i]:offsets[i + 1]]`, null is empty."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> "Ragged":
        """The given rows, in the given order."""
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        lengths = ends - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        at = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
        return Ragged(self.values[at], offsets)


Column = NDArray[Any] | Ragged


@dataclass(frozen=True)
class Decoder:
    """How the values of one feature become a column."""

    where: str
    decode: Callable[["Decoder", list[bytes]], Column]
    dtype: np.dtype[Any]
    kind: ValueType
    width: int = 0
    tag: int = 0

    def column(self, stored: Stored) -> tuple[Column, NDArray[np.bool_]]:
        """The column, and which of its values are not null.

        Null is NaN among floats and in vectors, NaT among times, 0 or False among other numbers,
        None among objects, and an empty list.
        """
        if all(stored):
            return self.decode(self, list(stored)), np.ones(len(stored), dtype=bool)  # type: ignore[arg-type]
        valid = np.fromiter(map(bool, stored), dtype=bool, count=len(stored))
        known = self.decode(self, [value for value in stored if value])
        return _spread(known, valid), valid

    def wrong(self, value: bytes) -> Exception:
        """The error of a value that cannot be of this feature's type."""
        found = ValueProto.FromString(value).WhichOneof("val")
        return schema_error(
            self.where,
            got=f"a stored {found} of {len(value)} bytes",
            expected=f"a vector of {self.width} floats" if self.width else self.dtype,
            remedy="Materialize the view again: the stored row is of another schema.",
        )


def decoder_of(view: str, field: Field) -> Decoder:
    """The decoder of a declared feature.

    A vector is a feature declared with `vector_index` and a `vector_length`, of Array(Float32).
    """
    where = f"view {view}, feature {field.name}"
    kind = field.dtype.to_value_type()
    if is_vector(field):
        return Decoder(where, _vectors, np.dtype(np.float32), kind, field.vector_length)
    if kind in _FIXED:
        dtype, tag = _FIXED[kind]
        return Decoder(where, _fixed, np.dtype(dtype), kind, tag=tag)
    if kind in _VARINTS:
        dtype, tag = _VARINTS[kind]
        return Decoder(where, _varints, np.dtype(dtype), kind, tag=tag)
    if kind in _LISTS:
        return Decoder(where, _lists, np.dtype(_LISTS[kind]), kind)
    decode = _strings if kind == ValueType.STRING else _objects
    return Decoder(where, decode, np.dtype(object), kind)


def is_vector(field: Field) -> bool:
    """Whether the feature is a float32 vector of a declared width."""
    return bool(field.vector_index and field.vector_length) and field.dtype == Array(Float32)


def vector_value(stored: bytes) -> ValueProto:
    """A stored vector in the stock form, whichever form it is stored in."""
    value: ValueProto = ValueProto.FromString(stored)
    if value.WhichOneof("val") != "bytes_val":
        return value
    floats = np.frombuffer(value.bytes_val, dtype="<f2").astype(np.float32)
    return ValueProto(float_list_val=FloatList(val=floats))


def vector_heads(width: int) -> tuple[bytes, bytes]:
    """What stands before the numbers of a float32 and of a float16 vector of that width."""
    packed = b"\x0a" + varint(4 * width)
    return (
        _FLOAT_LIST + varint(len(packed) + 4 * width) + packed,
        _BYTES + varint(2 * width),
    )


def _spread(known: Column, valid: NDArray[np.bool_]) -> Column:
    """The known values at their rows, nulls between them."""
    if isinstance(known, Ragged):
        lengths = np.zeros(len(valid), dtype=np.int64)
        lengths[valid] = np.diff(known.offsets)
        return Ragged(known.values, np.concatenate([[0], np.cumsum(lengths)]))
    null = _NULLS.get(known.dtype.kind, 0)
    column = np.full((len(valid), *known.shape[1:]), null, dtype=known.dtype)
    column[valid] = known
    return column


def _vectors(decoder: Decoder, stored: list[bytes]) -> NDArray[np.float32]:
    width = decoder.width
    for head, dtype in zip(vector_heads(width), ("<f4", "<f2"), strict=True):
        numbers = _after(head, width * np.dtype(dtype).itemsize, stored)
        if numbers is not None:
            return numbers.view(dtype).astype(np.float32, copy=False)
    rows = [vector_value(value).float_list_val.val for value in stored]  # of both forms
    for value, row in zip(stored, rows, strict=True):
        if len(row) != width:
            raise decoder.wrong(value)
    return np.array(rows, dtype=np.float32).reshape(len(stored), width)


def _fixed(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    payload = _after(bytes([decoder.tag]), decoder.dtype.itemsize, stored)
    if payload is None:
        return _parsed(decoder, stored)
    return payload.view(decoder.dtype.newbyteorder("<")).ravel().astype(decoder.dtype, copy=False)


def _after(head: bytes, size: int, stored: list[bytes]) -> NDArray[np.uint8] | None:
    """(n, size) bytes that follow `head` in every value; None when one has another form."""
    joined = b"".join(stored)
    n, each = len(stored), len(head) + size
    if len(joined) != n * each:
        return None
    rows = np.frombuffer(joined, dtype=np.uint8).reshape(n, each)
    if not (rows[:, : len(head)] == np.frombuffer(head, dtype=np.uint8)).all():
        return None
    return np.ascontiguousarray(rows[:, len(head) :])


def _varints(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    if len(stored) <= FEW:
        return _parsed(decoder, stored)
    joined, starts, ends = joined_bytes(stored)
    if not (joined[starts] == decoder.tag).all() or (ends - starts).min(initial=2) < 2:
        return _parsed(decoder, stored)
    numbers, read = read_varints(joined, starts + 1)
    if not (read == ends).all():
        return _parsed(decoder, stored)
    return numbers.astype(decoder.dtype)


def _parsed(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    """Values of another type than declared, as an earlier schema wrote them, where they convert."""
    column = np.empty(len(stored), dtype=decoder.dtype)
    for row, value in enumerate(stored):
        proto = ValueProto.FromString(value)
        try:
            column[row] = getattr(proto, str(proto.WhichOneof("val")))
        except (TypeError, ValueError, OverflowError):
            raise decoder.wrong(value) from None
    return column


def _lists(decoder: Decoder, stored: list[bytes]) -> Ragged:
    protos = [ValueProto.FromString(value) for value in stored]
    try:
        parts = [
            np.asarray(getattr(proto, str(proto.WhichOneof("val"))).val, dtype=decoder.dtype)
            for proto in protos
        ]
    except (AttributeError, TypeError, ValueError):
        for value, proto in zip(stored, protos, strict=True):
            if not hasattr(getattr(proto, str(proto.WhichOneof("val")), None), "val"):
                raise decoder.wrong(value) from None
        raise
    lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    values = np.concatenate(parts) if parts else np.empty(0, dtype=decoder.dtype)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def _strings(decoder: Decoder, stored: list[bytes]) -> NDArray[np.object_]:
    column = np.empty(len(stored), dtype=object)
    column[:] = [
        str(value[2:], "utf-8")
        if value[0] == 0x12 and value[1] < 0x80
        else ValueProto.FromString(value).string_val
        for value in stored
    ]
    return column


def _objects(decoder: Decoder, stored: list[bytes]) -> NDArray[np.object_]:
    column = np.empty(len(stored), dtype=object)
    for row, value in enumerate(stored):
        proto = ValueProto.FromString(value)
        column[row] = feast_value_type_to_python_type(proto, decoder.kind)
    return column


_FIXED: dict[ValueType, tuple[type[Any], int]] = {
    ValueType.DOUBLE: (np.float64, 0x29),
    ValueType.FLOAT: (np.float32, 0x35),
}
_VARINTS: dict[ValueType, tuple[Any, int]] = {
    ValueType.INT32: (np.int32, 0x18),
    ValueType.INT64: (np.int64, 0x20),
    ValueType.BOOL: (np.bool_, 0x38),
    ValueType.UNIX_TIMESTAMP: ("datetime64[s]", 0x40),
}
_LISTS: dict[ValueType, Any] = {
    ValueType.DOUBLE_LIST: np.float64,
    ValueType.FLOAT_LIST: np.float32,
    ValueType.INT32_LIST: np.int32,
    ValueType.INT64_LIST: np.int64,
    ValueType.BOOL_LIST: np.bool_,
    ValueType.UNIX_TIMESTAMP_LIST: "datetime64[s]",
    ValueType.STRING_LIST: object,
    ValueType.BYTES_LIST: object,
}
