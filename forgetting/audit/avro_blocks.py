"""Searching the blocks of an Avro file, which manifests of Iceberg are: they are packed."""

import io
import zlib
from pathlib import Path

from forgetting.audit.needles import Needles

_MAGIC, _SYNC = 4, 16  # bytes


def search_avro(path: Path, needles: Needles) -> str | None:
    """The block of a file that has a needle, None without one."""
    stream = io.BytesIO(path.read_bytes())
    stream.seek(_MAGIC)
    codec = _read_header(stream).get(b"avro.codec", b"null")
    number = 0
    while _read_long(stream):
        number += 1
        content = stream.read(_read_long(stream))
        unpacked = zlib.decompress(content, -15) if codec == b"deflate" else content
        if needles.in_bytes(unpacked) is not None:
            return f"block {number}"
        stream.read(_SYNC)
    return None


def _read_header(stream: io.BytesIO) -> dict[bytes, bytes]:
    found = {}
    while count := _read_long(stream):
        if count < 0:  # then the length of the block follows
            count, _ = -count, _read_long(stream)
        for _ in range(count):
            name = stream.read(_read_long(stream))
            found[name] = stream.read(_read_long(stream))
    stream.read(_SYNC)
    return found


def _read_long(stream: io.BytesIO) -> int:
    """A number in zigzag and variable length; 0 at the end of the file."""
    number = shift = 0
    while byte := stream.read(1):
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            break
        shift += 7
    return (number >> 1) ^ -(number & 1)
