"""Serialized protobuf Timestamps to numpy; a row whose timestamp is none counts as absent."""

import logging
from collections.abc import Sequence

import numpy as np
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from feast_fusion.online.codec.varints import FEW, joined_bytes, read_varints

_log = logging.getLogger(__name__)

_NAT = np.iinfo(np.int64).min
# The first and last second of which protobuf, and Python, can make a time.
_FIRST_S = np.datetime64("0001-01-01T00:00:00", "s").astype(np.int64)
_LAST_S = np.datetime64("9999-12-31T23:59:59", "s").astype(np.int64)


def decode_timestamps(stored: Sequence[bytes | None]) -> NDArray[np.datetime64]:
    """(n,) datetime64[us] of serialized protobuf Timestamps; NaT for None and for what is none.

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


def warn_of_unreadable_rows(view: str, n_rows: int) -> None:
    """Say that rows are taken as absent because their event timestamp is none."""
    _log.warning(
        "view %s: %d rows have no readable event timestamp and are read as absent. "
        "Push or materialize them again.",
        view,
        n_rows,
    )


def _micros(stored: bytes | None) -> int:
    if stored is None:
        return _NAT
    try:
        return int(Timestamp.FromString(stored).ToMicroseconds())
    except (DecodeError, ValueError):  # no Timestamp, or one of no year that there is
        return _NAT


def _timestamps(stored: list[bytes]) -> NDArray[np.int64]:
    """(n,) microseconds: seconds are field 1, nanoseconds field 2, both left out when zero."""
    joined, starts, ends = joined_bytes(stored)
    if not (all(stored) and (joined[starts] == 0x08).all()):
        return np.array(list(map(_micros, stored)), dtype=np.int64)
    try:
        seconds, read = read_varints(joined, starts + 1)
        has_nanos = read < ends
        nanos = np.zeros(len(stored), dtype=np.int64)
        nanos[has_nanos], read[has_nanos] = read_varints(joined, read[has_nanos] + 1)
    except IndexError:  # a number that does not end
        return np.array(list(map(_micros, stored)), dtype=np.int64)
    micros = seconds * 1_000_000 + nanos // 1000
    for at in np.flatnonzero((read != ends) | (seconds < _FIRST_S) | (seconds > _LAST_S)).tolist():
        micros[at] = _micros(stored[at])
    return micros
