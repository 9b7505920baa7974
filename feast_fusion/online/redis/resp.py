"""The Redis protocol as bytes: commands packed for a pipeline, and replies looked through."""

from collections.abc import Iterator, Sequence
from typing import Any

import hiredis

Argument = bytes | int | str

_BATCH_BYTES = 1_048_576
_NOTHING_YET = object()
# hiredis ships wrong annotations: of a tuple with one item, and of `str | bytes` only.
_pack_tuple: Any = hiredis.pack_command


def pack_command(*arguments: Argument) -> bytes:
    """A command as RESP."""
    packed: bytes = _pack_tuple(arguments)
    return packed


def pack_batches(
    commands: Sequence[Sequence[Argument]], batch_bytes: int = _BATCH_BYTES
) -> Iterator[tuple[bytes, int]]:
    """Commands as RESP in batches, each with the number of its commands.

    A batch ends with the command that takes it to `batch_bytes`, so memory stays flat.
    """
    packed: list[bytes] = []
    size = 0
    for command in commands:
        packed.append(_pack_tuple(tuple(command)))
        size += len(packed[-1])
        if size >= batch_bytes:
            yield b"".join(packed), len(packed)
            packed, size = [], 0
    if packed:
        yield b"".join(packed), len(packed)


def pack_hash_reads(keys: Sequence[bytes], fields: Sequence[bytes]) -> bytes:
    """`HMGET key fields...` for every key; what follows a key is packed once for all of them."""
    if not keys:
        return b""
    packed = b"".join([b"$%d\r\n%b\r\n" % (len(field), field) for field in fields])
    tail = b"\r\n" + packed
    command = b"*%d\r\n$5\r\nHMGET\r\n$" % (len(fields) + 2)
    heads = {length: command + b"%d\r\n" % length for length in set(map(len, keys))}
    if len(heads) == 1:
        (head,) = heads.values()
        return head + (tail + head).join(keys) + tail
    return b"".join([heads[len(key)] + key + tail for key in keys])


def split_commands(payload: bytes) -> list[list[bytes]]:
    """Name and arguments of every command of `payload`; in RESP a command is an array reply."""
    reader = hiredis.Reader(notEnoughData=_NOTHING_YET)
    reader.feed(payload)
    return list(iter(reader.gets, _NOTHING_YET))


_NO_LOGIN = "NOAUTH Authentication required."


def first_error(replies: Sequence[object]) -> str:
    """Text of the first reply that is an error, "" when none is."""
    if not any(issubclass(kind, Exception) for kind in set(map(type, replies))):
        return ""
    return error_text(next(reply for reply in replies if isinstance(reply, Exception)))


def error_text(error: Exception) -> str:
    """What Redis said: redis-py keeps the first word of an error that it knows apart.

    That a login is missing Redis says of a long command in other words than of a short one; here
    it has one text.
    """
    code = getattr(error, "status_code", None)
    said = f"{code} {error}" if code else str(error) or type(error).__name__
    return _NO_LOGIN if "unauthenticated" in said else said
