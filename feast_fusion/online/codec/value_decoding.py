"""Serialized Feast values to numpy, a column at a time: no Python object per number.

A value is a protobuf message `Value` with one field set, so its bytes are a tag that tells the type
and a payload; b"" is null (protobuf encoding: https://protobuf.dev/programming-guides/encoding).
Columns whose bytes have the form that the feature's type is written in are decoded from their
joined bytes; another form of the type is parsed by protobuf, value by value, and a value of
another type is refused: an earlier schema of its view wrote it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from feast import Field
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type
from feast.types import Array, Float32
from feast.value_type import ValueType
from numpy.typing import NDArray

from feast_fusion.online.codec.stored_types import bytes_after, type_name, value_tag, wrong_type
from feast_fusion.online.codec.varints import FEW, joined_bytes, read_varints
from feast_fusion.online.codec.vector_decoding import decode_vectors, vector_value

Stored = Sequence[bytes | None]

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
    tag: bytes
    width: int = 0

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

    def parse(self, value: bytes) -> ValueProto:
        """The message of one value; b"" is null.

        Raises
        ------
        SchemaError
            It is not of this feature's type.
        """
        if value and not value.startswith(self.tag):
            raise wrong_type(self.where, value, type_name(self.kind))
        proto: ValueProto = ValueProto.FromString(value)
        return proto


def decoder_of(view: str, field: Field) -> Decoder:
    """The decoder of a declared feature.

    A vector is a feature declared with `vector_index` and a `vector_length`, of Array(Float32).
    """
    kind = field.dtype.to_value_type()
    width = 0
    if is_vector(field):
        decode, dtype, width = _vectors, np.dtype(np.float32), field.vector_length
    else:
        decode, dtype = _DECODES.get(kind, (_objects, np.dtype(object)))
    return Decoder(feature_place(view, field.name), decode, dtype, kind, value_tag(kind), width)


def feature_place(view: str, feature: str) -> str:
    """A feature as messages name it."""
    return f"view {view}, feature {feature}"


def is_vector(field: Field) -> bool:
    """Whether the feature is a float32 vector of a declared width."""
    return bool(field.vector_index and field.vector_length) and field.dtype == Array(Float32)


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
    vectors = decode_vectors(decoder.width, stored)
    if vectors is not None:
        return vectors
    rows = [_vector(decoder, value) for value in stored]  # of several forms
    return np.array(rows, dtype=np.float32).reshape(len(stored), decoder.width)


def _vector(decoder: Decoder, value: bytes) -> Any:
    floats = vector_value(value).float_list_val.val
    if len(floats) != decoder.width:
        declared = f"a vector of {decoder.width} floats"
        raise wrong_type(decoder.where, value, declared)
    return floats


def _fixed(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    payload = bytes_after(decoder.tag, decoder.dtype.itemsize, stored)
    if payload is None:
        return _parsed(decoder, stored)
    return payload.view(decoder.dtype.newbyteorder("<")).ravel().astype(decoder.dtype, copy=False)


def _varints(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    if len(stored) <= FEW:
        return _parsed(decoder, stored)
    joined, starts, ends = joined_bytes(stored)
    if not (joined[starts] == decoder.tag[0]).all() or (ends - starts).min(initial=2) < 2:
        return _parsed(decoder, stored)
    numbers, read = read_varints(joined, starts + 1)
    if not (read == ends).all():
        return _parsed(decoder, stored)
    return numbers.astype(decoder.dtype)


def _parsed(decoder: Decoder, stored: list[bytes]) -> NDArray[Any]:
    """Values in any form of the declared type."""
    column = np.empty(len(stored), dtype=decoder.dtype)
    for row, value in enumerate(stored):
        proto = decoder.parse(value)
        column[row] = getattr(proto, str(proto.WhichOneof("val")))
    return column


def _lists(decoder: Decoder, stored: list[bytes]) -> Ragged:
    protos = [decoder.parse(value) for value in stored]
    parts = [
        np.asarray(getattr(proto, str(proto.WhichOneof("val"))).val, dtype=decoder.dtype)
        for proto in protos
    ]
    lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
    values = np.concatenate(parts) if parts else np.empty(0, dtype=decoder.dtype)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))


def _strings(decoder: Decoder, stored: list[bytes]) -> NDArray[np.object_]:
    column = np.empty(len(stored), dtype=object)
    column[:] = [
        str(value[2:], "utf-8")
        if value[0] == 0x12 and value[1] < 0x80
        else decoder.parse(value).string_val
        for value in stored
    ]
    return column


def _objects(decoder: Decoder, stored: list[bytes]) -> NDArray[np.object_]:
    column = np.empty(len(stored), dtype=object)
    for row, value in enumerate(stored):
        proto = decoder.parse(value)
        column[row] = feast_value_type_to_python_type(proto, decoder.kind)
    return column


_Decode = Callable[[Decoder, list[bytes]], Column]


def _table(decode: _Decode, dtypes: dict[str, Any]) -> dict[ValueType, tuple[_Decode, Any]]:
    return {ValueType[name]: (decode, np.dtype(dtype)) for name, dtype in dtypes.items()}


_DECODES: dict[ValueType, tuple[_Decode, Any]] = {
    **_table(_fixed, {"DOUBLE": np.float64, "FLOAT": np.float32}),
    **_table(
        _varints,
        {"INT32": np.int32, "INT64": np.int64, "BOOL": np.bool_, "UNIX_TIMESTAMP": "M8[s]"},
    ),
    **_table(
        _lists,
        {
            "DOUBLE_LIST": np.float64,
            "FLOAT_LIST": np.float32,
            "INT32_LIST": np.int32,
            "INT64_LIST": np.int64,
            "BOOL_LIST": np.bool_,
            "UNIX_TIMESTAMP_LIST": "M8[s]",
            "STRING_LIST": object,
            "BYTES_LIST": object,
        },
    ),
    **_table(_strings, {"STRING": object}),
}
