"""A bounded set of connections to one store, lent to many threads."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from feast.infra.online_stores.redis import RedisOnlineStoreConfig, RedisType
from redis import ConnectionPool, Redis, RedisCluster
from redis.exceptions import RedisError

from feast_fusion.online.redis.client import redis_client, sentinels_of
from feast_fusion.online.redis.cluster_connection import ClusterConnection
from feast_fusion.online.redis.connection import (
    Connection,
    ExchangeError,
    ServerConnection,
    open_connection,
    unreachable,
)


class BoundedPool:
    """At most `limit` connections, opened when needed and lent to one thread at a time.

    Parameters
    ----------
    config : which Redis
    limit : connections at once; whoever needs one more waits
    connect_timeout_s : seconds to connect to one address
    timeout_s : seconds without a byte while a new connection logs in or its server is looked up
    is_hopeless : asked by whoever waits when it is woken; True ends the wait with an error
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
        self._idle: list[Connection] = []
        self._n_lent = 0
        self._generation = 0
        self._client: Redis | RedisCluster | None = None
        self._client_lock = threading.Lock()
        self._is_outdated = False
        self._primary: tuple[str, int] | None = None

    @contextmanager
    def lend(self, deadline: float) -> Iterator[tuple[Connection, bool]]:
        """A connection for one exchange, and whether it was kept; closed if the block raises.

        Raises
        ------
        ExchangeError
            None became free by `deadline`, waiting became hopeless, or none could be opened.
        """
        kept, generation = self._take(deadline)
        lent = kept
        try:
            lent = lent or self._open(deadline)
            yield lent, kept is not None
        except BaseException:
            if lent is not None:
                lent.close()
            raise
        finally:
            self._give_back(lent, generation)

    def forget_idle(self) -> None:
        """Close every connection that is free now, and every lent one when it comes back."""
        with self._changed:
            self._generation += 1
            self._is_outdated = True
            closing, self._idle = self._idle, []
        for connection in closing:
            connection.close()

    def wake(self) -> None:
        """Let all who wait for a connection look whether waiting has become hopeless."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Close all connections; a later `lend` opens new ones."""
        self.forget_idle()
        with self._client_lock:
            client, self._client = self._client, None
        if client is None:
            return
        with suppress(RedisError, OSError):
            for sentinel in sentinels_of(client):
                sentinel.close()
            client.close()

    def _take(self, deadline: float) -> tuple[Connection | None, int]:
        with self._changed:
            while self._n_lent >= self._limit:
                if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    got = f"{self._limit} connections, all in use until the deadline"
                    raise ExchangeError(got, "a free one", was_crowded=True)
                if self._is_hopeless():
                    raise ExchangeError(
                        "nothing but failures while waiting", "a free connection", was_crowded=True
                    )
            self._n_lent += 1
            return (self._idle.pop() if self._idle else None), self._generation

    def _give_back(self, lent: Connection | None, generation: int) -> None:
        with self._changed:
            self._n_lent -= 1
            is_kept = lent is not None and lent.is_open and generation == self._generation
            if is_kept and lent is not None:
                self._idle.append(lent)
            self._changed.notify()
        if lent is not None and not is_kept:
            lent.close()

    def _open(self, deadline: float) -> Connection:
        client = self._connected_client(deadline)
        if isinstance(client, RedisCluster):
            return ClusterConnection(client, self._open_server)
        opened = self._open_server(client.connection_pool, deadline)
        if self._config.redis_type == RedisType.redis_sentinel:
            self._follow(opened.address)
        return opened

    def _open_server(self, pool: ConnectionPool, deadline: float) -> ServerConnection:
        return open_connection(pool, self._timeout_s, deadline)

    def _connected_client(self, deadline: float) -> Redis | RedisCluster:
        """The client, with the slots of a cluster looked up anew after a failure."""
        if not self._client_lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise ExchangeError("a look-up of the servers that lasts until the deadline", "its end")
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
            raise unreachable(error, deadline) from error
        except (TypeError, ValueError) as error:
            got = f"{error}"
            raise ExchangeError(got, "a connection string of Feast", was_refused=True) from error
        finally:
            self._client_lock.release()

    def _follow(self, primary: tuple[str, int]) -> None:
        """Leave the connections to a former primary when a sentinel names another."""
        if self._primary not in (None, primary):
            self.forget_idle()
        self._primary = primary
