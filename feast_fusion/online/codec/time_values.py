"""Serialized protobuf Timestamps to numpy."""

from collections.abc import Sequence

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feast_fusion.online.codec.varints import FEW, joined_bytes, read_varints

_NAT = np.iinfo(np.int64).min


def decode_timestamps(stored: Sequence[bytes | None]) -> NDArray[np.datetime64]:
    """(n,) datetime64[us] of serialized protobuf Timestamps; NaT for None.

    b"" is the epoch: protobuf leaves zeros out.
    """
    distinct = dict.fromkeys(stored)
    if len(distinct) <= FEW:  # a materialization often stamps many rows alike
        known = {value: _micros(value) for value in distinct}
        found = np.fromiter(map(known.__getitem__, stored), dtype=np.int64, count=len(stored))
        return found.view("datetime64[us]")
    where = np.fromiter((value is not None for value in stored), dtype=bool, count=len(stored))
    micros = np.full(len(stored), _NAT)
    micros[where] = _timestamps([value for value in stored if value is not None])
    return micros.view("datetime64[us]")


def _micros(stored: bytes | None) -> int:
    return _NAT if stored is None else int(Timestamp.FromString(stored).ToMicroseconds())


def _timestamps(stored: list[bytes]) -> NDArray[np.int64]:
    """(n,) microseconds: seconds are field 1, nanoseconds field 2, both left out when zero."""
    joined, starts, ends = joined_bytes(stored)
    if not (all(stored) and (joined[starts] == 0x08).all()):
        return np.array(list(map(_micros, stored)), dtype=np.int64)
    seconds, read = read_varints(joined, starts + 1)
    has_nanos = read < ends
    nanos = np.zeros(len(stored), dtype=np.int64)
    nanos[has_nanos], _ = read_varints(joined, read[has_nanos] + 1)
    return seconds * 1_000_000 + nanos // 1000
