"""What Redis says has changed, told to a `RowCache` (client-side caching in broadcasting mode)."""

import logging
import threading
import time
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from feast_fusion.online.cache.row_cache import RowCache

HEARTBEAT_S = 0.05
REPLY_DEADLINE_S = 0.25
_CONNECT_TIMEOUT_S = 1.0
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 2.0

_log = logging.getLogger(__name__)


class InvalidationListener:
    """A thread with a connection of its own that keeps a `RowCache` right.

    Redis (6.0 or later) is asked to name every changed key of some prefixes (`CLIENT TRACKING ON
    BCAST`, RESP3), so it remembers nothing per key or client. The cache is opened when Redis has
    acknowledged the request, and suspended on any doubt: the connection is lost, an answer is
    late, the server is no longer a master. Then a new connection is tried until one answers, with
    growing delays up to 2 s.

    How stale a row from the cache can be depends on the connection:

    - it lives: the row is as old as the invalidation message takes, which Redis sends before it
      acknowledges the write;
    - it dies silently (paused server, half-open network): the row is at most `HEARTBEAT_S` +
      `REPLY_DEADLINE_S` old, 0.3 s. An answered heartbeat gives the cache a lease of this length
      from the moment the heartbeat was sent. The readers check the lease, so the bound holds even
      if this thread is not scheduled.

    A key whose own time to live runs out (`key_ttl_seconds`) is named when Redis removes it, which
    Redis may do some time after the expiry.

    Parameters
    ----------
    client : of a single Redis or of `Sentinel.master_for`; only its settings are used (address,
        TLS, credentials, database), never its connections
    cache : suspended until `start`
    prefixes : of the keys to be cached, Feast's `serialize_entity_key_prefix`
    """

    def __init__(self, client: Redis, cache: RowCache, prefixes: Iterable[bytes]) -> None:
        self._client = client
        self._cache = cache
        self._tracking: list[bytes | str] = ["CLIENT", "TRACKING", "ON", "BCAST"]
        for prefix in set(prefixes):  # Redis refuses to be told one twice
            self._tracking += ["PREFIX", prefix]
        self._stopping = threading.Event()
        self._opened = threading.Event()
        self._delay_s = _FIRST_DELAY_S
        self._is_reported = False
        self._thread = threading.Thread(target=self._run, name="redis-invalidation", daemon=True)

    def start(self) -> None:
        """Begin to listen; the cache opens as soon as Redis has answered."""
        self._thread.start()

    def wait_until_open(self, timeout_s: float) -> bool:
        """Whether the cache is open, after waiting for it if need be."""
        return self._opened.wait(timeout_s)

    def close(self) -> None:
        """Stop listening, and close the cache for good."""
        self._stopping.set()
        self._cache.close()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (RedisError, OSError) as error:
                self._report(error)
                self._stopping.wait(self._delay_s)
                self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)

    def _listen(self) -> None:
        connection = self._connection()
        try:
            connection.connect()
            # redis-py's own client-side cache sets it so; there is no public way.
            connection._parser.set_invalidation_push_handler(lambda message: message)
            self._ask(connection, *self._tracking)
            lease_end = self._lease_end(connection)
            self._cache.open(lease_end)  # a cache that was closed stays closed
            self._opened.set()
            self._delay_s, self._is_reported = _FIRST_DELAY_S, False
            while not self._stopping.is_set():
                self._apply_until(connection, lease_end - REPLY_DEADLINE_S)
                lease_end = self._lease_end(connection)
                self._cache.renew(lease_end)
        finally:
            self._opened.clear()
            self._cache.suspend()
            connection.disconnect()

    def _connection(self) -> Any:  # what redis-py leaves without annotations
        pool = self._client.connection_pool
        settings = {
            **pool.connection_kwargs,
            "protocol": 3,
            "decode_responses": False,
            "socket_timeout": REPLY_DEADLINE_S,
            "socket_connect_timeout": _CONNECT_TIMEOUT_S,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        for name in ("parser_class", "maint_notifications_pool_handler"):
            settings.pop(name, None)
        return pool.connection_class(**settings)

    def _lease_end(self, connection: Any) -> float:
        """Until when rows may be served, by an answer that the server gives now.

        HELLO is the heartbeat, since its answer also has the server's role: a master that became a
        replica may receive all data of its new master, and then names none of the changed keys.
        """
        sent = time.monotonic()
        answer = self._ask(connection, "HELLO", 3)
        if answer[b"role"] != b"master":
            raise ConnectionError(f"the server's role is {answer[b'role'].decode()}, not master")
        return sent + HEARTBEAT_S + REPLY_DEADLINE_S

    def _ask(self, connection: Any, *command: bytes | str | int) -> Any:
        """The answer to `command`; what is pushed before it is applied."""
        deadline = time.monotonic() + REPLY_DEADLINE_S
        connection.send_command(*command, check_health=False)
        while (remaining := deadline - time.monotonic()) > 0:
            if (answer := self._next_answer(connection, remaining)) is not None:
                return answer
        raise TimeoutError(f"no answer within {REPLY_DEADLINE_S * 1000:.0f} ms")

    def _apply_until(self, connection: Any, moment: float) -> None:
        """Apply what is pushed, as it comes, until `moment`."""
        while (remaining := moment - time.monotonic()) > 0:
            self._next_answer(connection, remaining)

    def _next_answer(self, connection: Any, timeout_s: float) -> Any:
        """The next message if it is an answer; None if it was pushed, or nothing came in time."""
        if not connection.can_read(timeout_s):
            return None
        message = connection.read_response(push_request=True)
        if not isinstance(message, list):  # no command that is sent here is answered by a list
            return message
        if message[0] == b"invalidate":
            if message[1] is None:  # FLUSHALL or FLUSHDB
                self._cache.drop()
            else:
                self._cache.invalidate(message[1])
        return None

    def _report(self, error: Exception) -> None:
        if not self._is_reported:  # once an outage, not at every attempt
            _log.warning("Item cache of Redis is off until its invalidations come again: %s", error)
        self._is_reported = True
