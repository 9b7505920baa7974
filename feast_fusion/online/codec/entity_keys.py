"""Entities as the bytes of their Redis keys: many at once, byte for byte as Feast makes them."""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
from feast import ValueType
from feast.infra.key_encoding_utils import serialize_entity_key_prefix

from feast_fusion.errors import schema_error

SERIALIZATION_VERSION = 3

_LENGTH = struct.Struct("<I")
_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_WRONG = (TypeError, ValueError, AttributeError, struct.error)  # of a value of another type


def encode_keys(
    join_keys: Sequence[str],
    columns: Sequence[Sequence[Any] | pa.Array],
    types: Sequence[ValueType],
    project: str,
) -> list[bytes]:
    """The Redis key of each entity, as `feast.infra.online_stores.redis` makes it.

    Parameters
    ----------
    join_keys : names under which the keys are stored
    columns : one per join key, n values each, none of them null
    types : one per join key

    Raises
    ------
    SchemaError
        A value is null or not of its type, or the type cannot be a key.
    """
    order = sorted(range(len(join_keys)), key=lambda at: join_keys[at])
    head = serialize_entity_key_prefix(list(join_keys), SERIALIZATION_VERSION)
    tail, pack = project.encode(), _LENGTH.pack
    encoded = [_encode_column(join_keys[at], columns[at], types[at]) for at in order]
    tags = [pack(types[at].value) for at in order]
    if len(encoded) == 1:
        head += tags[0]
        return [b"".join((head, pack(len(value)), value, tail)) for value in encoded[0]]
    return [
        head + b"".join(t + pack(len(v)) + v for t, v in zip(tags, values, strict=True)) + tail
        for values in zip(*encoded, strict=True)
    ]


def _encode_column(name: str, column: Sequence[Any] | pa.Array, kind: ValueType) -> list[bytes]:
    if kind not in _ENCODERS:
        raise schema_error(
            f"join key {name!r}",
            got=f"the type {kind.name}",
            expected=f"one of {sorted(known.name for known in _ENCODERS)}",
            remedy="Declare the entity with a type that Feast can make a key of.",
        )
    values = column.to_pylist() if isinstance(column, pa.Array | pa.ChunkedArray) else column
    try:
        return list(map(_ENCODERS[kind], values))
    except _WRONG:
        raise _bad_key(name, values, kind) from None


def _bad_key(name: str, values: Sequence[Any], kind: ValueType) -> Exception:
    for row, value in enumerate(values):
        try:
            _ENCODERS[kind](value)
        except _WRONG:
            return schema_error(
                f"join key {name!r}, row {row}",
                got=f"{value!r} ({type(value).__name__})",
                expected=f"a value of type {kind.name}",
                remedy="Ask for entities that exist, with keys of the declared type.",
            )
    raise AssertionError("every value can be encoded")


def _bytes(value: bytes) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _integer(pack: Callable[[int], bytes], value: SupportsIndex) -> bytes:
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return pack(value.__index__())


def _seconds(value: datetime | np.datetime64 | SupportsIndex) -> bytes:
    """Feast keys a time by its whole seconds; a naive one is UTC."""
    if isinstance(value, np.datetime64):
        return _INT64.pack(int(value.astype("datetime64[s]").astype(np.int64)))
    if isinstance(value, datetime):
        aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return _INT64.pack(int(aware.timestamp()))
    return _INT64.pack(value.__index__())


_ENCODERS: dict[ValueType, Callable[[Any], bytes]] = {
    ValueType.STRING: str.encode,
    ValueType.BYTES: _bytes,
    ValueType.INT32: partial(_integer, _INT32.pack),
    ValueType.INT64: partial(_integer, _INT64.pack),
    ValueType.UNIX_TIMESTAMP: _seconds,
}
