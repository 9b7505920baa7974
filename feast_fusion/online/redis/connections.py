"""Where Redis is, how long anything may take, and a bounded set of links to it for many threads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from redis import ConnectionPool, Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from feast_fusion.online.redis.cluster_link import ClusterLink
from feast_fusion.online.redis.links import (
    Link,
    LinkError,
    SocketLink,
    open_socket_link,
    unreachable,
)

# What redis-py would do by itself, and what `TransportSettings` decides here.
_OURS = ("retry", "retry_on_timeout", "retry_on_error", "health_check_interval", "max_connections")
_ClusterNode: Any = ClusterNode  # redis-py leaves both without annotations
_Sentinel: Any = Sentinel


@dataclass(frozen=True)
class TransportSettings:
    """Every limit of a `Transport`, times in milliseconds.

    `connect_timeout_ms` bounds connecting to one address; `read_timeout_ms` and `write_timeout_ms`
    the time without a single byte; `deadline_ms` a whole read with its wait for a free connection;
    `write_deadline_ms` one batch of a write with its retries. A read is repeated `retries` times,
    and only where a connection kept from before turned out to be broken. `breaker_failures` failed
    reads in a row stop reading for `breaker_cooldown_ms`. `max_connections` bounds the connections
    for reading, and again those for writing.
    """

    connect_timeout_ms: float = 40
    read_timeout_ms: float = 40
    deadline_ms: float = 250
    write_timeout_ms: float = 5000
    write_deadline_ms: float = 15_000
    retries: int = 1
    write_retries: int = 3
    breaker_failures: int = 3
    breaker_cooldown_ms: float = 500
    max_connections: int = 8


def with_timeouts_of(
    config: RedisOnlineStoreConfig, settings: TransportSettings
) -> TransportSettings:
    """`settings` with the `socket_timeout`, `socket_connect_timeout` and `max_connections` of the
    connection string, where it has them: they are what redis-py would obey.
    """
    _, options = RedisOnlineStore._parse_connection_string(config.connection_string)
    changes: dict[str, Any] = {}
    if options.get("socket_timeout") is not None:
        changes["read_timeout_ms"] = options["socket_timeout"] * 1000
    if options.get("socket_connect_timeout", options.get("socket_timeout")) is not None:
        seconds = options.get("socket_connect_timeout", options.get("socket_timeout"))
        changes["connect_timeout_ms"] = seconds * 1000
    if options.get("max_connections") is not None:
        changes["max_connections"] = options["max_connections"]
    return replace(settings, **changes)


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


class LinkPool:
    """At most `limit` links, opened when needed and lent to one thread at a time.

    Parameters
    ----------
    config : RedisOnlineStoreConfig
        Which Redis.
    limit : int
        Links at once; who needs one more waits.
    connect_timeout_s : float
        Seconds to connect to one address.
    timeout_s : float
        Seconds without a byte while a new link logs in or its server is looked up.
    is_hopeless : Callable[[], bool]
        Asked by those who wait whenever they are woken: True ends their wait with an error.
    """

    def __init__(
        self,
        config: RedisOnlineStoreConfig,
        *,
        limit: int,
        connect_timeout_s: float,
        timeout_s: float,
        is_hopeless: Callable[[], bool],
    ) -> None:
        self._config = config
        self._limit = limit
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._is_hopeless = is_hopeless
        self._changed = threading.Condition()
        self._idle: list[Link] = []
        self._n_lent = 0
        self._generation = 0
        self._client: Redis | RedisCluster | None = None
        self._client_lock = threading.Lock()
        self._is_outdated = False
        self._peer: object = None

    @contextmanager
    def lend(self, deadline: float) -> Iterator[tuple[Link, bool]]:
        """A link for one exchange, and whether it was used before; closed if the block raises.

        Raises
        ------
        LinkError
            None became free by `deadline`, waiting became hopeless, or none could be opened.
        """
        kept, generation = self._take(deadline)
        link = kept
        try:
            link = link or self._open(deadline)
            yield link, kept is not None
        except BaseException:
            if link is not None:
                link.close()
            raise
        finally:
            self._give_back(link, generation)

    def forget_idle(self) -> None:
        """Close every link that is free now, and those that are lent when they come back."""
        with self._changed:
            self._generation += 1
            self._is_outdated = True
            closing, self._idle = self._idle, []
        for link in closing:
            link.close()

    def wake(self) -> None:
        """Let all who wait for a link look whether waiting has become hopeless."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Close all links; a later `lend` opens new ones."""
        self.forget_idle()
        with self._client_lock:
            client, self._client = self._client, None
        if client is None:
            return
        with suppress(RedisError, OSError):
            for sentinel in _sentinels(client):
                sentinel.close()
            client.close()

    def _take(self, deadline: float) -> tuple[Link | None, int]:
        with self._changed:
            while self._n_lent >= self._limit:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    got = f"{self._limit} connections, all in use until the deadline"
                    raise LinkError(got, "a free one", was_crowded=True)
                if self._is_hopeless():
                    raise LinkError(
                        "nothing but failures while waiting", "a free connection", was_crowded=True
                    )
            self._n_lent += 1
            return (self._idle.pop() if self._idle else None), self._generation

    def _give_back(self, link: Link | None, generation: int) -> None:
        with self._changed:
            self._n_lent -= 1
            is_kept = link is not None and link.is_open and generation == self._generation
            if is_kept and link is not None:
                self._idle.append(link)
            self._changed.notify()
        if link is not None and not is_kept:
            link.close()

    def _open(self, deadline: float) -> Link:
        client = self._connected_client(deadline)
        if isinstance(client, RedisCluster):
            return ClusterLink(client, self._open_socket)
        link = self._open_socket(client.connection_pool, deadline)
        if self._config.redis_type == RedisType.redis_sentinel:
            self._follow(link.peer)
        return link

    def _open_socket(self, pool: ConnectionPool, deadline: float) -> SocketLink:
        return open_socket_link(pool, self._timeout_s, deadline)

    def _connected_client(self, deadline: float) -> Redis | RedisCluster:
        """The client, with the slots of a cluster looked up anew after a failure."""
        if not self._client_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise LinkError("a look-up of the servers that lasts until the deadline", "its end")
        try:
            if self._client is None:
                self._client = redis_client(
                    self._config,
                    connect_timeout_s=self._connect_timeout_s,
                    timeout_s=self._timeout_s,
                )
            elif self._is_outdated and isinstance(self._client, RedisCluster):
                self._client.nodes_manager.initialize()
            self._is_outdated = False
            return self._client
        except (RedisError, OSError) as error:
            raise unreachable(error) from error
        except (TypeError, ValueError) as error:
            got = f"{error}"
            raise LinkError(got, "a connection string of Feast", was_refused=True) from error
        finally:
            self._client_lock.release()

    def _follow(self, peer: object) -> None:
        """Leave the links to a former primary when a sentinel names another."""
        if self._peer not in (None, peer):
            self.forget_idle()
        self._peer = peer


def _sentinels(client: Redis | RedisCluster) -> list[Redis]:
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return [] if manager is None else manager.sentinels
