"""The same rows read with less: what reading through Feast's declarations is measured against."""

from collections.abc import Callable
from typing import Any

import redis
from feast import FeatureStore
from feast.infra.online_stores.redis import RedisOnlineStore

from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.redis_matrix import online_store_of

Commands = list[tuple[bytes, list[bytes]]]


def commands_of(store: FeatureStore, features: Any, user_id: str, items: list[str]) -> Commands:
    """One HMGET per entity, key and fields, of the fields that ours reads."""
    plan = online_store_of(store).read_plan(
        store.config, store.registry, features, full_feature_names=True
    )
    ids = {"user_id": [user_id], "item_id": items}
    return [
        (key, group.fields)
        for group in plan.groups
        for key in encode_keys(
            group.join_keys, [ids[group.requested[0]]], group.types, store.project
        )
    ]


def client_of(address: str) -> redis.Redis:
    """Of Feast's connection string."""
    (node,), options = RedisOnlineStore._parse_connection_string(address)
    return redis.Redis(node["host"], int(node["port"]), **options)


def by_hand(address: str, commands: Commands) -> Callable[[], Any]:
    """redis-py: one pipeline, nothing decoded."""
    client = client_of(address)

    def read() -> Any:
        with client.pipeline(transaction=False) as pipe:
            for key, fields in commands:
                pipe.hmget(key, fields)
            return pipe.execute()

    return read


def by_socket(address: str, commands: Commands) -> Callable[[], Any]:
    """A bare socket: the packed commands sent, and as many bytes taken as are known to come."""
    connection = client_of(address).connection_pool.get_connection()
    packed = b"".join(
        connection.pack_commands([("HMGET", key, *fields) for key, fields in commands])
    )
    connection.send_packed_command([packed])
    replies = [connection.read_response() for _ in commands]
    n_bytes = sum(len(_as_sent(reply)) for reply in replies)
    into = memoryview(bytearray(n_bytes))

    def read() -> Any:
        connection._sock.sendall(packed)
        at = 0
        while at < n_bytes:
            at += connection._sock.recv_into(into[at:])

    return read


def _as_sent(reply: list[bytes | None]) -> bytes:
    """The bytes of a reply to HMGET."""
    values = (b"$-1\r\n" if v is None else b"$%d\r\n%b\r\n" % (len(v), v) for v in reply)
    return b"*%d\r\n" % len(reply) + b"".join(values)
