"""How much memory the rows of a view take in Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from feast_fusion.online.entity_scan import scan_entities

_SAMPLE = 500  # entities whose memory is asked for


@dataclass(frozen=True)
class RowMemory:
    """The rows of a view.

    Attributes
    ----------
    n_rows : entities that have one
    n_bytes : what Redis holds for them, from a sample where there are many
    """

    n_rows: int
    n_bytes: int


def measure_rows(
    client: Any, join_keys: Sequence[str], project: str, fields: Sequence[bytes], stamp: bytes
) -> RowMemory:
    """The rows that have the hash field `stamp`, and the memory of `fields`.

    All views of an entity share a hash: of its memory, as Redis says it, each field has the share
    that its name and value have of all names and values.

    Parameters
    ----------
    client : of redis-py, of one server or of a cluster
    """
    n_rows, sampled = 0, list[int]()
    for keys in scan_entities(client, join_keys, project):
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hexists(key, stamp)
            having = [key for key, there in zip(keys, pipe.execute(), strict=True) if there]
        n_rows += len(having)
        room = max(0, _SAMPLE - len(sampled))
        sampled += [_memory_of(client, key, fields) for key in having[:room]]
    return RowMemory(n_rows, round(n_rows * sum(sampled) / max(1, len(sampled))))


def _memory_of(client: Any, key: bytes, fields: Sequence[bytes]) -> int:
    sizes = {name: len(name) + len(value) for name, value in client.hgetall(key).items()}
    own = sum(sizes.get(field, 0) for field in fields)
    return round(int(client.memory_usage(key, samples=0)) * own / sum(sizes.values()))
