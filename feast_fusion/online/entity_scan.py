"""The Redis keys of a project's entities: found by a scan, told apart exactly.

A key is the names of the join keys, their values and then the project, so a pattern that ends in
`shop` also meets the keys of the project `bigshop`. Each key that is met is read to its end.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from feast.infra.key_encoding_utils import serialize_entity_key_prefix

from feast_fusion.online.codec.entity_keys import SERIALIZATION_VERSION

_SCAN_COUNT = 1_000  # keys that Redis looks at in one step
_VALUE_HEAD = struct.Struct("<II")  # type and length of a value
_SPECIAL = re.compile(rb"([*?\[\]^\\-])")  # in a pattern of SCAN


def scan_entities(client: Any, join_keys: Sequence[str], project: str) -> Iterator[list[bytes]]:
    """The keys of all entities with these join keys, in lists of a bounded length.

    A key may come twice, as SCAN has it, and one that is written meanwhile may be left out.

    Parameters
    ----------
    client : of redis-py, of one server or of a cluster
    """
    head = serialize_entity_key_prefix(list(join_keys), SERIALIZATION_VERSION)
    tail = project.encode()
    pattern = _SPECIAL.sub(rb"\\\1", head) + b"*" + _SPECIAL.sub(rb"\\\1", tail)
    met = iter(client.scan_iter(pattern, count=_SCAN_COUNT))
    while keys := list(islice(met, _SCAN_COUNT)):
        yield [key for key in keys if _is_of(key, head, len(join_keys), tail)]


def _is_of(key: bytes, head: bytes, n_values: int, tail: bytes) -> bool:
    """Whether after its head a key has so many values, and then the project and nothing else."""
    at = len(head)
    for _ in range(n_values):
        if len(key) < at + _VALUE_HEAD.size:
            return False
        at += _VALUE_HEAD.size + _VALUE_HEAD.unpack_from(key, at)[1]
    return key.startswith(head) and key[at:] == tail


def delete_entities(client: Any, join_keys: Sequence[str], project: str) -> None:
    """Delete the rows of all views of these entities."""
    for keys in scan_entities(client, join_keys, project):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.unlink(key)
            pipe.execute()


def delete_fields(
    client: Any, join_keys: Sequence[str], project: str, fields: Sequence[bytes]
) -> None:
    """Delete fields of all these entities; an entity that has no other goes with them."""
    for keys in scan_entities(client, join_keys, project):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hdel(key, *fields)
            pipe.execute()
