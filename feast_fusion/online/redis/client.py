"""Where Redis is: Feast's connection string as a redis-py client, and as words in a message."""

from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

# What redis-py would do by itself, and what the store's own options decide here.
_OURS = ("retry", "retry_on_timeout", "retry_on_error", "health_check_interval", "max_connections")
_ClusterNode: Any = ClusterNode  # redis-py leaves both without annotations
_Sentinel: Any = Sentinel


def store_address(config: RedisOnlineStoreConfig) -> str:
    """Where the store is, for messages: hosts and ports, without any password."""
    nodes, _ = RedisOnlineStore._parse_connection_string(config.connection_string)
    hosts = ", ".join(":".join(node.values()) for node in nodes)
    if config.redis_type == RedisType.redis_sentinel:
        return f"{config.sentinel_master} of the sentinels {hosts}"
    return f"cluster {hosts}" if config.redis_type == RedisType.redis_cluster else hosts


def redis_client(
    config: RedisOnlineStoreConfig, *, connect_timeout_s: float, timeout_s: float
) -> Redis | RedisCluster:
    """A redis-py client of the store that never retries, with all other options of Feast's.

    A cluster is connected to at once, the others on their first use.

    Raises
    ------
    redis.exceptions.RedisError, ValueError, TypeError
        The cluster cannot be reached, or the connection string has an option unknown to redis-py.
    """
    nodes, given = RedisOnlineStore._parse_connection_string(config.connection_string)
    if not nodes or any("port" not in node for node in nodes):
        raise ValueError("a connection string without host:port")
    options = {name: value for name, value in given.items() if name not in _OURS}
    options |= {"socket_timeout": timeout_s, "socket_connect_timeout": connect_timeout_s}
    options |= {"decode_responses": False, "protocol": 2}
    never = Retry(NoBackoff(), 0)
    if config.redis_type == RedisType.redis_cluster:
        return RedisCluster(
            startup_nodes=[_ClusterNode(**n) for n in nodes], retry=never, **options
        )
    if config.redis_type == RedisType.redis_sentinel:
        sockets = {name: value for name, value in options.items() if name.startswith("socket_")}
        of_sentinels = {**sockets, "retry": never, **options.pop("sentinel_kwargs", {})}
        hosts = [(node["host"], int(node["port"])) for node in nodes]
        sentinel = _Sentinel(hosts, sentinel_kwargs=of_sentinels, retry=never, **options)
        client: Redis = sentinel.master_for(config.sentinel_master)
        return client
    return Redis(host=nodes[0]["host"], port=int(nodes[0]["port"]), retry=never, **options)


def sentinels_of(client: Redis | RedisCluster) -> list[Redis]:
    """The sentinels that a client asks for its server, none where it asks none."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [] if manager is None else manager.sentinels
