"""Stored vectors to numpy, in each of the three forms that a store may hold beside one another.

- float32 is Feast's own `float_list_val`, packed;
- float16 is `bytes_val` of d little-endian numbers;
- int8 is `bytes_val` of `INT8_MARK`, a little-endian float32 scale and d numbers: number i of the
  vector is `scale * numbers[i]`. The mark is NaN as a float16, and no float16 vector has a NaN.
"""

import numpy as np
from feast.protos.feast.types.Value_pb2 import FloatList
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from numpy.typing import NDArray

from feast_fusion.online.codec.stored_types import bytes_after
from feast_fusion.online.codec.varints import varint

INT8_MARK = b"\xff\xff"

_FLOAT_LIST = b"\x82\x01"  # field 16, length-delimited
_BYTES = b"\x0a"  # field 1, length-delimited
_SCALE_BYTES = 4


def vector_heads(width: int) -> tuple[bytes, bytes, bytes]:
    """What stands before a float32, a float16 and an int8 vector of that width (and its scale)."""
    packed = b"\x0a" + varint(4 * width)
    return (
        _FLOAT_LIST + varint(len(packed) + 4 * width) + packed,
        _BYTES + varint(2 * width),
        _BYTES + varint(len(INT8_MARK) + _SCALE_BYTES + width) + INT8_MARK,
    )


def decode_vectors(width: int, stored: list[bytes]) -> NDArray[np.float32] | None:
    """(n, width) vectors that are all stored in one form; None where they are not."""
    full_head, half_head, int8_head = vector_heads(width)
    full = bytes_after(full_head, 4 * width, stored)
    if full is not None:
        return full.view("<f4").astype(np.float32, copy=False)
    scaled = bytes_after(int8_head, _SCALE_BYTES + width, stored)
    if scaled is not None:
        return _scaled(scaled)
    half = bytes_after(half_head, 2 * width, stored)
    mark = np.frombuffer(INT8_MARK, np.uint8)
    if half is None or (half[:, : len(mark)] == mark).all(axis=1).any():
        return None
    return half.view("<f2").astype(np.float32)


def vector_value(stored: bytes) -> ValueProto:
    """A stored vector in the stock form, whichever form it is stored in."""
    value: ValueProto = ValueProto.FromString(stored)
    if value.WhichOneof("val") != "bytes_val":
        return value
    return ValueProto(float_list_val=FloatList(val=_numbers(value.bytes_val)))


def _numbers(payload: bytes) -> NDArray[np.float32]:
    if payload.startswith(INT8_MARK):
        return _scaled(np.frombuffer(payload, np.uint8, offset=len(INT8_MARK))[None]).ravel()
    halves: NDArray[np.float16] = np.frombuffer(payload, dtype="<f2")
    return halves.astype(np.float32)


def _scaled(rows: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, d) vectors of (n, 4 + d) bytes."""
    scales = np.ascontiguousarray(rows[:, :_SCALE_BYTES]).view("<f4")  # (n, 1)
    vectors: NDArray[np.float32] = rows[:, _SCALE_BYTES:].view(np.int8) * scales
    return vectors
