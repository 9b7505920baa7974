"""One round trip to Redis: many hash reads or many commands, within limits, by many threads.

A `Transport` either returns every reply, whole and in order, or raises `StoreUnavailableError`.
"""

import hashlib
import os
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.online.redis.circuit_breaker import CircuitBreaker
from feast_fusion.online.redis.connections import (
    LinkPool,
    TransportSettings,
    store_address,
    with_timeouts_of,
)
from feast_fusion.online.redis.links import Link, LinkError
from feast_fusion.online.redis.resp import Argument, first_error, pack_batches, pack_hash_reads

__all__ = ["MissingScriptError", "ReadGroup", "Reply", "Transport", "TransportSettings"]

Reply = list[bytes | None]

_FIRST_PAUSE_S = 0.05
_DOWN = "Start Redis or correct connection_string; if it is only slow, raise the timeouts"
_CROWDED = "Raise max_connections or deadline_ms, or read less at a time"
_REFUSED = "Correct connection_string: its host, options, username and password"
# By the first word of what the server replied.
_REMEDIES = {
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


class MissingScriptError(StoreUnavailableError):
    """A server does not know a Lua script that a command called; load it and write again."""


@dataclass(frozen=True)
class ReadGroup:
    """The same fields of many hashes."""

    keys: Sequence[bytes]
    fields: Sequence[bytes]


class Transport:
    """Reads and writes of one store over connections that it keeps; threads and forks may share it.

    Parameters
    ----------
    config : RedisOnlineStoreConfig
        Feast's configuration of the Redis store, of any of its three types. A `socket_timeout`,
        `socket_connect_timeout` or `max_connections` in its connection string replaces that of
        `settings`.
    settings : TransportSettings
        Limits.
    """

    def __init__(
        self, config: RedisOnlineStoreConfig, settings: TransportSettings | None = None
    ) -> None:
        self._config = config
        self._settings = with_timeouts_of(config, settings or TransportSettings())
        self._address = store_address(config)
        _, options = RedisOnlineStore._parse_connection_string(config.connection_string)
        self._password = str(options.get("password") or "")
        self._last_failure = ""
        self._start()
        _transports.add(self)

    def _start(self) -> None:
        settings = self._settings
        self._breaker = CircuitBreaker(
            settings.breaker_failures,
            settings.breaker_cooldown_ms / 1000,
            on_open=lambda: self._readers.wake(),
        )
        breaker = self._breaker
        self._readers = LinkPool(
            self._config,
            limit=settings.max_connections,
            connect_timeout_s=settings.connect_timeout_ms / 1000,
            timeout_s=settings.read_timeout_ms / 1000,
            is_hopeless=lambda: breaker.is_open,
        )
        self._writers = LinkPool(
            self._config,
            limit=settings.max_connections,
            connect_timeout_s=settings.connect_timeout_ms / 1000,
            timeout_s=settings.write_timeout_ms / 1000,
            is_hopeless=lambda: False,
        )

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
        commands : Sequence of Sequence
            Name and arguments; `EVALSHA sha 1 key ...` among them.
        scripts : Sequence of str
            Sources of the Lua scripts that the commands call. A batch is sent once more after
            loading them when a server knows one of them no longer.

        Raises
        ------
        MissingScriptError
            A script is unknown to the server and not in `scripts`.
        StoreUnavailableError
            Redis did not answer in time or replied an error; part of the commands may have run.
        """
        replies: list[Any] = []
        for payload, n_commands in pack_batches(commands):
            replies += self.write_packed(payload, n_commands, scripts=scripts)
        return replies

    def write_packed(
        self, buffer: bytes | Sequence[bytes], n_replies: int, *, scripts: Sequence[str] = ()
    ) -> list[Any]:
        """The replies to `n_replies` commands that are RESP already; otherwise as `write`.

        The buffer, or the pieces of it, is one batch: the caller bounds its size.
        """
        if n_replies == 0:
            return []
        payload = buffer if isinstance(buffer, bytes) else b"".join(buffer)
        replies = self._write_batch(payload, n_replies)
        error = first_error(replies)
        if error.startswith("NOSCRIPT") and scripts:
            for source in scripts:
                self.load_script(source)
            replies = self._write_batch(payload, n_replies)
            error = first_error(replies)
        if error:
            raise self._refused(error)
        return replies

    def load_script(self, source: str) -> str:
        """SHA1 by which EVALSHA calls a Lua script, now loaded (in a cluster: on every primary)."""
        loaded = self._write_with_retries(
            lambda link, idle_s, deadline: [link.load_script(source, idle_s, deadline)]
        )
        error = first_error(loaded)
        if error:
            raise self._refused(error)
        return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        self._readers.close()
        self._writers.close()

    def _read_guarded(self, payload: bytes, n_replies: int) -> list[Any]:
        """The replies, unless the breaker is open; what happens is reported to the breaker."""
        permit = self._breaker.admit()
        if permit is None:
            raise self._unavailable(
                f"{self._last_failure}; it is not asked for "
                f"{self._settings.breaker_cooldown_ms:.0f} ms after such failures",
                "an answer",
            )
        try:
            replies = self._read_with_retries(payload, n_replies)
        except LinkError as error:
            self._last_failure = error.got
            if error.was_crowded:  # no connection was free, which says nothing of the server
                self._breaker.abandon(permit)
            else:
                self._breaker.fail(permit)
            raise self._unavailable(error.got, error.expected, error) from error
        except BaseException:
            self._breaker.abandon(permit)
            raise
        self._breaker.succeed(permit)
        return replies

    def _read_with_retries(self, payload: bytes, n_replies: int) -> list[Any]:
        idle_s = self._settings.read_timeout_ms / 1000
        deadline = time.monotonic() + self._settings.deadline_ms / 1000
        for _ in range(self._settings.retries):
            was_kept = False
            try:
                with self._readers.lend(deadline) as (link, was_kept):
                    return link.exchange(payload, n_replies, idle_s, deadline)
            except LinkError as error:
                if not (was_kept and error.was_reset):
                    raise
                self._readers.forget_idle()  # they are from before the server went away, too
        with self._readers.lend(deadline) as (link, _):
            return link.exchange(payload, n_replies, idle_s, deadline)

    def _checked(self, replies: list[Any], group: ReadGroup) -> list[Reply]:
        error = first_error(replies)
        if error:
            raise self._refused(error)
        if any(len(reply) != len(group.fields) for reply in replies):
            raise self._unavailable("replies of another length", f"{len(group.fields)} values each")
        return replies

    def _write_batch(self, payload: bytes, n_replies: int) -> list[Any]:
        return self._write_with_retries(
            lambda link, idle_s, deadline: link.exchange(payload, n_replies, idle_s, deadline)
        )

    def _write_with_retries(self, exchange: Callable[[Link, float, float], list[Any]]) -> list[Any]:
        """What `exchange` returns, tried on a new connection after every failure of one."""
        idle_s = self._settings.write_timeout_ms / 1000
        deadline = time.monotonic() + self._settings.write_deadline_ms / 1000
        for attempt in count():
            pause_s = _FIRST_PAUSE_S * 4**attempt
            try:
                with self._writers.lend(deadline) as (link, _):
                    return exchange(link, idle_s, deadline)
            except LinkError as error:
                is_last = attempt >= self._settings.write_retries or error.was_refused
                if is_last or time.monotonic() + pause_s >= deadline:
                    raise self._unavailable(error.got, error.expected, error) from error
            self._writers.forget_idle()
            time.sleep(pause_s)
        raise AssertionError("unreachable")

    def _refused(self, error: str) -> StoreUnavailableError:
        kind = MissingScriptError if error.startswith("NOSCRIPT") else StoreUnavailableError
        remedy = _REMEDIES.get(error.split(" ", 1)[0], "Correct what the answer says")
        return kind(self._message(f"the answer {error!r}", "none that is an error", remedy))

    def _unavailable(
        self, got: str, expected: str, error: LinkError | None = None
    ) -> StoreUnavailableError:
        remedy = _DOWN
        if error is not None and (error.was_refused or error.was_crowded):
            remedy = _REFUSED if error.was_refused else _CROWDED
        return StoreUnavailableError(self._message(got, expected, remedy))

    def _message(self, got: str, expected: str, remedy: str) -> str:
        message = f"Redis at {self._address}: got {got}, expected {expected}. {remedy}."
        return message.replace(self._password, "***") if self._password else message


_transports: "weakref.WeakSet[Transport]" = weakref.WeakSet()


def _forget_parent() -> None:
    """In a forked child: new locks, and none of the connections that the parent uses."""
    for transport in _transports:
        transport._start()


os.register_at_fork(after_in_child=_forget_parent)
