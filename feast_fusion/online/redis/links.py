"""Links: connections to Redis that exchange whole pipelines of raw RESP within a deadline.

redis-py finds the server (sentinels, cluster slots), connects and speaks TLS. From there on the
socket is ours: one buffer goes out, and hiredis turns all replies into one list, which costs a
third of redis-py's own pipeline. A link on which anything goes wrong is closed, so a reply can
never be taken for that of another command.
"""

import select
import socket
import ssl
import time
from typing import Any, Protocol

import hiredis
from redis import ConnectionPool, UsernamePasswordCredentialProvider
from redis.exceptions import RedisError

from feast_fusion.online.redis.resp import Argument, first_error, pack_command

_NOTHING_YET = object()
_RECEIVE_BYTES = 131_072  # larger ones measured the same, 16 KiB a tenth slower
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LinkError(Exception):
    """An exchange failed and its link is closed.

    `was_reset`: the server closed a connection that had been open. `was_refused`: the server
    answered and said no, so trying again is in vain. `was_crowded`: no link was free, so the
    server was not asked.
    """

    def __init__(
        self,
        got: str,
        expected: str,
        *,
        was_reset: bool = False,
        was_refused: bool = False,
        was_crowded: bool = False,
    ) -> None:
        super().__init__(got)
        self.got = got
        self.expected = expected
        self.was_reset = was_reset
        self.was_refused = was_refused
        self.was_crowded = was_crowded


class Link(Protocol):
    """A connection, to one server or to all of a cluster."""

    is_open: bool

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """The replies to `payload`, which holds `n_replies` commands, in their order.

        Errors that the server replied are `hiredis.ReplyError` objects in the list.

        Parameters
        ----------
        payload : bytes
            Commands in RESP.
        n_replies : int
            How many, at least one.
        idle_s : float
            Seconds that may pass without a byte moving.
        deadline : float
            `time.monotonic()` by which the last reply has come.

        Raises
        ------
        LinkError
            Anything else than `n_replies` whole replies came in time.
        """

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """SHA1 of a Lua script, now known to every server of this link, or the error replied."""

    def close(self) -> None:
        """Close the connection; it is never used again."""


class SocketLink:
    """A connection to one server.

    Parameters
    ----------
    connection : Any
        A connected `redis.connection.Connection`, which nobody else uses.
    """

    def __init__(self, connection: Any) -> None:
        self.is_open = True
        self._connection = connection
        self._socket: socket.socket = connection._get_socket()
        self._socket.setblocking(False)
        self._poller = select.poll()
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._reader: Any = hiredis.Reader(notEnoughData=_NOTHING_YET)
        self._unsent = memoryview(b"")

    @property
    def peer(self) -> object:
        """Address of the server."""
        return self._socket.getpeername()

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """See `Link`."""
        self.begin(payload, n_replies)
        return self.finish(idle_s, deadline)

    def begin(self, payload: bytes, n_replies: int) -> None:
        """Send what the socket takes at once; `finish` sends the rest."""
        # As items of one array the replies need one call of hiredis, which moves what is left in
        # its buffer after every reply that it completes.
        self._reader.feed(b"*%d\r\n" % n_replies)
        self._unsent = memoryview(payload)
        try:
            self._send()
        except BaseException:
            self.close()
            raise

    def finish(self, idle_s: float, deadline: float) -> list[Any]:
        """The replies to what `begin` was given."""
        try:
            replies: list[Any] = self._receive_all(idle_s, deadline)
            if self._unsent or self._reader.has_data():
                raise LinkError("more replies than commands", "one reply per command")
        except BaseException:  # an interrupt in mid-reply too leaves replies behind
            self.close()
            raise
        return replies

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """See `Link`."""
        command = pack_command("SCRIPT", "LOAD", source)
        return self.exchange(command, 1, idle_s, deadline)[0]

    def close(self) -> None:
        """See `Link`."""
        self.is_open = False
        self._connection.disconnect()

    def _receive_all(self, idle_s: float, deadline: float) -> Any:
        """Send and receive whichever is possible: a proxy may not read on before we do."""
        last_moved = time.monotonic()
        while True:
            n_received = self._receive()
            if n_received:
                self._reader.feed(self._buffer, 0, n_received)
                replies = self._parse()
                if replies is not _NOTHING_YET:
                    return replies
            now = time.monotonic()
            if n_received or (self._unsent and self._send()):
                last_moved = now
            if now >= deadline:
                raise LinkError("no whole answer at the deadline", "one before it")
            if now >= last_moved + idle_s:
                raise LinkError(f"no byte for {idle_s * 1000:.0f} ms", "an answer")
            if not n_received:
                self._wait(min(last_moved + idle_s, deadline) - now)

    def _receive(self) -> int:
        """Bytes received into the buffer, 0 when there are none now."""
        try:
            n_received = self._socket.recv_into(self._buffer)
        except _WOULD_BLOCK:
            return 0
        except OSError as error:
            raise _reset(error) from error
        if n_received == 0:
            raise LinkError("a connection closed by the server", "an answer", was_reset=True)
        return n_received

    def _send(self) -> int:
        try:
            n_sent = self._socket.send(self._unsent)
        except _WOULD_BLOCK:
            return 0
        except OSError as error:
            raise _reset(error) from error
        self._unsent = self._unsent[n_sent:]
        return n_sent

    def _parse(self) -> Any:
        try:
            return self._reader.gets()
        except hiredis.HiredisError as error:
            raise LinkError(f"a malformed reply ({error})", "RESP") from error

    def _wait(self, seconds: float) -> None:
        """Wait until bytes can move, at most `seconds`."""
        events = select.POLLIN | (select.POLLOUT if self._unsent else 0)
        self._poller.register(self._socket, events)
        self._poller.poll(seconds * 1000)


def open_socket_link(pool: ConnectionPool, idle_s: float, deadline: float) -> SocketLink:
    """A new connection like those of `pool`, logged in and in its database.

    Raises
    ------
    LinkError
        The server cannot be reached, does not answer or refuses the login.
    """
    opened: list[SocketLink] = []

    def log_in(connection: Any) -> None:
        opened.append(SocketLink(connection))
        _log_in(connection, opened[0], idle_s, deadline)

    # In place of redis-py's own greeting, which takes up to five round trips without a deadline.
    options = {**pool.connection_kwargs, "redis_connect_func": log_in}
    connection = pool.connection_class(**options)
    try:
        connection.connect()
    except RedisError as error:
        connection.disconnect()
        raise unreachable(error) from error
    except BaseException:
        connection.disconnect()
        raise
    return opened[0]


def unreachable(error: Exception) -> LinkError:
    """What redis-py raised while looking for a server, as a `LinkError`."""
    return LinkError(str(error) or type(error).__name__, "a connection")


def _log_in(connection: Any, link: SocketLink, idle_s: float, deadline: float) -> None:
    commands: list[tuple[Argument, ...]] = []
    provider = connection.credential_provider
    if provider is None and (connection.username or connection.password):
        provider = UsernamePasswordCredentialProvider(connection.username, connection.password)
    if provider is not None:
        commands.append(("AUTH", *provider.get_credentials()))
    if connection.db:
        commands.append(("SELECT", connection.db))
    if connection.client_name:
        commands.append(("CLIENT", "SETNAME", connection.client_name))
    if not commands:
        return
    payload = b"".join([pack_command(*command) for command in commands])
    error = first_error(link.exchange(payload, len(commands), idle_s, deadline))
    if error:
        raise LinkError(f"the answer {error!r}", "a login", was_refused=True)


def _reset(error: OSError) -> LinkError:
    return LinkError(f"a broken connection ({error})", "an answer", was_reset=True)
