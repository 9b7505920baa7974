"""Protobuf's base-128 numbers (https://protobuf.dev/programming-guides/encoding), many at once."""

import numpy as np
from numpy.typing import NDArray

FEW = 8  # values that are parsed one by one faster than together
_VARINT_BYTES = 10  # of a 64-bit number


def varint(number: int) -> bytes:
    """A number in base-128 form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def joined_bytes(
    stored: list[bytes],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """All bytes one after the other, where each value starts, and one past where it ends."""
    lengths = np.fromiter(map(len, stored), dtype=np.int64, count=len(stored))
    ends = np.cumsum(lengths)
    return np.frombuffer(b"".join(stored), dtype=np.uint8), ends - lengths, ends


def read_varints(
    joined: NDArray[np.uint8], at: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The base-128 numbers that start at the given positions, and one past where each ends."""
    numbers = np.zeros(len(at), dtype=np.uint64)
    ends = at.copy()
    going = np.arange(len(at))
    for place in range(_VARINT_BYTES):
        digits = joined[ends[going]]
        numbers[going] |= (digits & 0x7F).astype(np.uint64) << np.uint64(7 * place)
        ends[going] += 1
        going = going[digits > 0x7F]
        if not len(going):
            break
    return numbers.view(np.int64), ends
