"""One round trip to Redis: many hash reads or many commands, within limits, by many threads.

A `Transport` either returns every reply, whole and in order, or raises `StoreUnavailableError`.
"""

import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.online.options import OnlineStoreOptions
from feast_fusion.online.redis.circuit_breaker import CircuitBreaker
from feast_fusion.online.redis.client import store_address
from feast_fusion.online.redis.connection import Connection, ExchangeError
from feast_fusion.online.redis.pool import BoundedPool
from feast_fusion.online.redis.resp import (
    Argument,
    error_text,
    first_error,
    pack_batches,
    pack_hash_reads,
)
from feast_fusion.tracing import span

Reply = list[bytes | None]

_FIRST_PAUSE_S = 0.05
_DOWN = "Start Redis or correct connection_string; if it is only slow, raise the timeouts"
_CROWDED = "Raise max_connections or deadline_ms, or read less at a time"
_REFUSED = "Correct connection_string: its host, options, username and password"
# By the first word of what the server replied.
_REMEDIES = {
    "NOSCRIPT": "Write with the source of the Lua script that the commands call",
    "OOM": "Raise maxmemory of Redis or remove keys, then write again",
    "MISCONF": "Redis cannot save its data: see its log and free its disk",
    "READONLY": "Connect to the primary, or use redis_type: redis_sentinel to follow it",
    "LOADING": "Wait until Redis has loaded its data",
    "NOAUTH": "Set the password in connection_string",
    "WRONGPASS": "Correct username and password in connection_string",
    "NOPERM": "Grant the user of connection_string these commands and keys",
    "MOVED": "Use redis_type: redis_cluster",
    "CLUSTERDOWN": "Repair the cluster: some of its slots have no server",
    "WRONGTYPE": "Another program wrote this key: remove it, or use another database",
}


@dataclass(frozen=True)
class ReadGroup:
    """The same fields of many hashes."""

    keys: Sequence[bytes]
    fields: Sequence[bytes]


Read = Callable[[Sequence[ReadGroup]], list[list[Reply]]]


class Transport:
    """Reads and writes of one store over connections that it keeps; threads and forks may share it.

    Parameters
    ----------
    options : where Redis is (of any of Feast's three types), and all limits

    Attributes
    ----------
    observe : told of each exchange: "read" or "write", "answered" or "failed", seconds
    n_broken : how often the server closed a connection: it may be another one since, or have
        older data. It rises before anything is read over a new connection.
    """

    def __init__(self, options: OnlineStoreOptions) -> None:
        self._options = options.resolved()
        self._address = store_address(options)
        _, given = RedisOnlineStore._parse_connection_string(options.connection_string)
        self._password = str(given.get("password") or "")
        self._last_failure = ""
        self.observe: Callable[[str, str, float], None] = lambda operation, outcome, seconds: None
        self.n_broken = 0
        self._start()
        _transports.add(self)

    def _start(self) -> None:
        options = self._options
        breaker = self._breaker = CircuitBreaker(
            options.breaker_failures,
            options.breaker_cooldown_ms / 1000,
            on_open=lambda: self._readers.wake(),
        )
        pool = partial(
            BoundedPool,
            options,
            limit=options.max_connections,
            connect_timeout_s=options.connect_timeout_ms / 1000,
        )
        self._readers = pool(
            timeout_s=options.read_timeout_ms / 1000, is_hopeless=lambda: breaker.is_open
        )
        self._writers = pool(timeout_s=options.write_timeout_ms / 1000, is_hopeless=lambda: False)

    @property
    def is_refusing(self) -> bool:
        """Whether reads are refused for a while, since too many in a row failed."""
        return self._breaker.is_open

    def read(self, groups: Sequence[ReadGroup]) -> list[list[Reply]]:
        """The fields of every hash of every group, in one pipelined round trip.

        Returns
        -------
        list of list of list
            By group, key and field; None for a field or key that is absent.

        Raises
        ------
        StoreUnavailableError
            Redis did not answer all of it in time, replied an error, or failed so often just now
            that it was not asked.
        """
        n_replies = sum(len(group.keys) for group in groups)
        if n_replies == 0:
            return [[] for _ in groups]
        payload = b"".join([pack_hash_reads(group.keys, group.fields) for group in groups])
        replies = iter(self._read_guarded(payload, n_replies))
        return [self._checked(list(islice(replies, len(group.keys))), group) for group in groups]

    def write(
        self, commands: Sequence[Sequence[Argument]], *, scripts: Sequence[str] = ()
    ) -> list[Any]:
        """The replies to commands of one key each, pipelined in batches of about 1 MiB.

        A batch whose connection fails is sent again as a whole, so the commands must be idempotent.

        Parameters
        ----------
        commands : name and arguments of each; `EVALSHA sha 1 key ...` among them
        scripts : sources of the Lua scripts that the commands call; where a server does not know
            one of them, they are loaded and the batch is sent once more

        Raises
        ------
        StoreUnavailableError
            Redis did not answer in time or replied an error; part of the commands may have run.
        """
        replies: list[Any] = []
        for payload, n_commands in pack_batches(commands):
            replies += self._write_batch(payload, n_commands, scripts)
        return replies

    def said(self, error: Exception) -> StoreUnavailableError:
        """The error of what a redis-py client of this store raised, in the words of this class."""
        answer = error_text(error)
        got, expected = f"the answer {answer!r}", "none that is an error"
        return self._error(got, expected, _remedy(answer, _DOWN))

    def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        self._readers.close()
        self._writers.close()

    def _read_guarded(self, payload: bytes, n_replies: int) -> list[Any]:
        """The replies, unless the breaker is open; what happens is reported to the breaker."""
        permit = self._breaker.admit()
        if permit is None:
            raise self._error(
                f"{self._last_failure}; it is not asked for "
                f"{self._options.breaker_cooldown_ms} ms after such failures",
                "an answer",
                _DOWN,
            )
        try:
            with span("online_read"), self._observed("read"):
                replies = self._read_with_retries(payload, n_replies)
        except ExchangeError as error:
            self._last_failure = error.got
            if error.was_crowded:  # no connection was free, which says nothing of the server
                self._breaker.abandon(permit)
            else:
                self._breaker.fail(permit)
            raise self._unavailable(error) from error
        except BaseException:
            self._breaker.abandon(permit)
            raise
        self._breaker.succeed(permit)
        return replies

    @contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        began, outcome = time.perf_counter(), "failed"
        try:
            yield
            outcome = "answered"
        finally:
            self.observe(operation, outcome, time.perf_counter() - began)

    def _read_with_retries(self, payload: bytes, n_replies: int) -> list[Any]:
        idle_s = self._options.read_timeout_ms / 1000
        deadline = time.monotonic() + self._options.deadline_ms / 1000
        for _ in range(self._options.retries):
            was_kept = False
            try:
                with self._readers.lend(deadline) as (connection, was_kept):
                    return connection.exchange(payload, n_replies, idle_s, deadline)
            except ExchangeError as error:
                self.n_broken += error.was_reset
                if not (was_kept and error.was_reset):
                    raise
                self._readers.forget_idle()  # these, too, were opened before the server went away
        with self._readers.lend(deadline) as (connection, _):
            return connection.exchange(payload, n_replies, idle_s, deadline)

    def _checked(self, replies: list[Any], group: ReadGroup) -> list[Reply]:
        if error := first_error(replies):
            raise self._refused(error)
        if any(len(reply) != len(group.fields) for reply in replies):
            raise self._error("replies of another length", f"{len(group.fields)} values", _DOWN)
        return replies

    def _write_batch(self, payload: bytes, n_replies: int, scripts: Sequence[str]) -> list[Any]:
        def exchange(connection: Connection, idle_s: float, deadline: float) -> list[Any]:
            return connection.exchange(payload, n_replies, idle_s, deadline)

        with self._observed("write"):
            replies = self._write_with_retries(exchange)
        if scripts and first_error(replies).startswith("NOSCRIPT"):
            for source in scripts:
                self._load_script(source)
            replies = self._write_with_retries(exchange)
        if error := first_error(replies):
            raise self._refused(error)
        return replies

    def _load_script(self, source: str) -> None:
        """Make a Lua script known to the server, in a cluster to every primary."""

        def load(connection: Connection, idle_s: float, deadline: float) -> list[Any]:
            return [connection.load_script(source, idle_s, deadline)]

        if error := first_error(self._write_with_retries(load)):
            raise self._refused(error)

    def _write_with_retries(
        self, exchange: Callable[[Connection, float, float], list[Any]]
    ) -> list[Any]:
        """What `exchange` returns, tried on a new connection after every failure of one."""
        idle_s = self._options.write_timeout_ms / 1000
        deadline = time.monotonic() + self._options.write_deadline_ms / 1000
        for attempt in count():
            pause_s = _FIRST_PAUSE_S * 4**attempt
            try:
                with self._writers.lend(deadline) as (connection, _):
                    return exchange(connection, idle_s, deadline)
            except ExchangeError as error:
                self.n_broken += error.was_reset
                is_last = attempt >= self._options.write_retries or error.was_refused
                if is_last or time.monotonic() + pause_s >= deadline:
                    raise self._unavailable(error) from error
            self._writers.forget_idle()
            time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _refused(self, answer: str) -> StoreUnavailableError:
        got, expected = f"the answer {answer!r}", "none that is an error"
        return self._error(got, expected, _remedy(answer, "Correct what the answer says"))

    def _unavailable(self, error: ExchangeError) -> StoreUnavailableError:
        otherwise = _CROWDED if error.was_crowded else _REFUSED if error.was_refused else _DOWN
        return self._error(error.got, error.expected, _remedy(error.answer, otherwise))

    def _error(self, got: str, expected: str, remedy: str) -> StoreUnavailableError:
        message = f"Redis at {self._address}: got {got.rstrip('.')}, expected {expected}. {remedy}."
        if self._password:
            message = message.replace(self._password, "***")
        return StoreUnavailableError(message)


def _remedy(answer: str, otherwise: str) -> str:
    return _REMEDIES.get(answer.split(" ", 1)[0], otherwise)


_transports: "weakref.WeakSet[Transport]" = weakref.WeakSet()


def _forget_parent() -> None:
    """In a forked child: new locks, and none of the connections that the parent uses."""
    for transport in _transports:
        transport._start()


os.register_at_fork(after_in_child=_forget_parent)
