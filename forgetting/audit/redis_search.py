"""Searching all keys of a Redis, and all that they hold."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from forgetting.audit.needles import Needles

_AT_ONCE = 500
_READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda pipe, key: pipe.get(key),
    b"hash": lambda pipe, key: pipe.hgetall(key),
    b"zset": lambda pipe, key: pipe.zrange(key, 0, -1),
    b"set": lambda pipe, key: pipe.smembers(key),
    b"list": lambda pipe, key: pipe.lrange(key, 0, -1),
}


def search_redis(client: Any, needles: Needles) -> tuple[int, list[bytes]]:
    """How many keys there are, and those that are called by a needle or hold one.

    client : of redis-py, of one server or of a cluster
    """
    n_keys, found = 0, []
    keys = iter(client.scan_iter(count=_AT_ONCE))
    while some := list(islice(keys, _AT_ONCE)):
        n_keys += len(some)
        found += [key for key, held in _held(client, some) if _has(needles, key, held)]
    return n_keys, sorted(set(found))


def describe_key(key: bytes) -> str:
    """A key by its beginning and its length: the rest may be an id."""
    return f"a key of {len(key)} bytes that begins {key[:12]!r}"


def _held(client: Any, keys: list[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
        known = [(key, kind) for key, kind in zip(keys, kinds, strict=True) if kind in _READ]
        for key, kind in known:
            _READ[kind](pipe, key)
        for (key, _), value in zip(known, pipe.execute(raise_on_error=False), strict=True):
            yield key, _flat(value)


def _flat(value: Any) -> list[bytes]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return [value] if isinstance(value, bytes) else [e for e in value or () if isinstance(e, bytes)]


def _has(needles: Needles, key: bytes, held: list[bytes]) -> bool:
    name = key.decode("utf-8", "replace")
    of_users = name if not name.endswith(":active") else "users"
    is_named = needles.in_bytes(key) is not None or name.endswith(f":user:{needles.user_id}")
    return is_named or any(_holds(needles, of_users, value) for value in held)


def _holds(needles: Needles, name: str, value: bytes) -> bool:
    is_whole = "users" in name and value == needles.user_id.encode()
    return is_whole or needles.in_value(name, value)
