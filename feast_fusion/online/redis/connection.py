"""A connection to Redis that exchanges a whole pipeline of raw RESP within a deadline.

The connection is redis-py's own: it finds the server (sentinels, cluster slots), speaks TLS, logs
in, sends and parses. Ours are the packed commands, the deadline over an exchange, and one array of
replies in place of one call per reply. A connection on which anything goes wrong is closed, so a
reply can never be taken for the reply to another command.
"""

import select
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from redis import ConnectionPool
from redis._parsers import _HiredisParser
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from feast_fusion.online.redis.resp import error_text, pack_command

_PIECE_BYTES = 16_384  # a socket that can be written to takes as many without blocking
_RECEIVE_BYTES = 131_072  # larger ones measured the same, 16 KiB a tenth slower
_LATE = "no whole answer at the deadline"


class ExchangeError(Exception):
    """An exchange failed and its connection is closed.

    Attributes
    ----------
    got, expected : what happened, and what was to happen
    was_reset : the server closed a connection that had been open
    was_refused : the server answered and said no, so trying again is in vain
    answer : the error that the server answered with, "" for none
    was_crowded : no connection was free, so the server was not asked
    """

    def __init__(
        self,
        got: str,
        expected: str,
        *,
        was_reset: bool = False,
        was_refused: bool = False,
        was_crowded: bool = False,
        answer: str = "",
    ) -> None:
        super().__init__(got)
        self.got = got
        self.expected = expected
        self.was_reset = was_reset
        self.was_refused = was_refused
        self.was_crowded = was_crowded
        self.answer = answer


class Connection(Protocol):
    """A connection to one server, or to all servers of a cluster."""

    is_open: bool

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """The replies to `payload`, which holds `n_replies` commands, in their order.

        Errors that the server replied are exceptions in the list.

        Parameters
        ----------
        payload : commands in RESP
        n_replies : number of the commands, at least one
        idle_s : seconds that may pass without a byte moving
        deadline : `time.monotonic()` by which the last reply has come

        Raises
        ------
        ExchangeError
            Anything else than `n_replies` whole replies came in time.
        """

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """SHA1 of a Lua script that every server now knows, or the error that one replied."""

    def close(self) -> None:
        """Close the connection; it is never used again."""


_Parser: Any = _HiredisParser  # redis-py leaves it without annotations


class DeadlineParser(_Parser):  # type: ignore[misc]
    """redis-py's parser, which waits at most `idle_s` for a byte, and never past `deadline`."""

    def __init__(self, idle_s: float, deadline: float) -> None:
        super().__init__(_RECEIVE_BYTES)
        self.idle_s = idle_s
        self.deadline = deadline

    def expect(self, n_replies: int) -> None:
        """Make the next replies the items of one array, which one call of hiredis completes."""
        self._reader.feed(b"*%d\r\n" % n_replies)

    def wait_until_writable(self) -> None:
        """Take in replies until the socket can be written to: a proxy may not read on before."""
        poller = select.poll()
        poller.register(self._sock, select.POLLIN | select.POLLOUT)
        while True:
            ready = poller.poll(1000 * self._patience_s())
            if not ready:
                raise TimeoutError
            if ready[0][1] & ~select.POLLOUT:
                super().read_from_socket(timeout=0, raise_on_timeout=False)
            if ready[0][1] & select.POLLOUT:
                return

    def read_from_socket(self, *_: object, **__: object) -> bool:
        """Wait for bytes and take them in."""
        return bool(super().read_from_socket(timeout=self._patience_s()))

    def has_more(self) -> bool:
        """Whether bytes came that belong to no expected reply."""
        return bool(self._reader.has_data())

    def _patience_s(self) -> float:
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError
        return min(self.idle_s, remaining_s)


class ServerConnection:
    """A connection to one server.

    Parameters
    ----------
    connected : a connected `redis.connection.Connection`, which nobody else uses
    parser : its parser
    """

    def __init__(self, connected: Any, parser: DeadlineParser) -> None:
        self.is_open = True
        self._connected = connected
        self._parser = parser

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        return self._connected.host, self._connected.port

    def exchange(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> list[Any]:
        """See `Connection`."""
        self.send(payload, n_replies, idle_s, deadline)
        return self.receive()

    def send(self, payload: bytes, n_replies: int, idle_s: float, deadline: float) -> None:
        """Send commands, to whose replies `receive` applies the same limits."""
        self._parser.idle_s, self._parser.deadline = idle_s, deadline
        with self._closed_on_failure():
            self._parser.expect(n_replies)
            for at in range(0, len(payload), _PIECE_BYTES):
                self._parser.wait_until_writable()
                piece = payload[at : at + _PIECE_BYTES]
                self._connected.send_packed_command([piece], check_health=False)

    def receive(self) -> list[Any]:
        """The replies to what `send` was given."""
        with self._closed_on_failure():
            replies: list[Any] = self._connected.read_response(disable_decoding=True)
            if self._parser.has_more():
                raise ExchangeError("more replies than commands", "one reply per command")
        return replies

    def load_script(self, source: str, idle_s: float, deadline: float) -> Any:
        """See `Connection`."""
        command = pack_command("SCRIPT", "LOAD", source)
        return self.exchange(command, 1, idle_s, deadline)[0]

    def close(self) -> None:
        """See `Connection`."""
        self.is_open = False
        self._connected.disconnect()

    def _closed_on_failure(self) -> AbstractContextManager[None]:
        return closed_on_failure(self.close, lambda error: _failed(error, self._parser))


@contextmanager
def closed_on_failure(
    close: Callable[[], object], explain: Callable[[RedisError | OSError], ExchangeError]
) -> Iterator[None]:
    """Call `close` if the block raises: an interrupt, too, leaves replies behind.

    What redis-py and the system raise becomes what `explain` makes of it.
    """
    try:
        yield
    except (RedisError, OSError) as error:
        close()
        raise explain(error) from error
    except BaseException:
        close()
        raise


def open_connection(pool: ConnectionPool, idle_s: float, deadline: float) -> ServerConnection:
    """A new connection with the settings of `pool`, logged in and in its database.

    Raises
    ------
    ExchangeError
        The server cannot be reached, does not answer or refuses the login.
    """
    parser = DeadlineParser(idle_s, deadline)
    options = {
        **pool.connection_kwargs,
        "parser_class": lambda socket_read_size: parser,
        "driver_info": None,  # its two commands would be two more round trips
    }
    connected = pool.connection_class(**options)
    with closed_on_failure(connected.disconnect, lambda error: unreachable(error, deadline)):
        connected.connect()
    opened = ServerConnection(connected, parser)
    if not options.get("password") and not options.get("credential_provider"):
        _check_login(opened, idle_s, deadline)
    return opened


def _check_login(opened: ServerConnection, idle_s: float, deadline: float) -> None:
    """Raise if the server wants a login: of a long command it would only reset the connection."""
    [reply] = opened.exchange(pack_command("PING"), 1, idle_s, deadline)
    if isinstance(reply, AuthenticationError):
        opened.close()
        raise _refused(reply)


def unreachable(error: RedisError | OSError, deadline: float) -> ExchangeError:
    """What redis-py raised while it looked for a server or logged in, as an `ExchangeError`."""
    if getattr(error, "status_code", None):
        return _refused(error)
    late = time.monotonic() >= deadline
    return ExchangeError(_LATE if late else error_text(error), "a connection")


def _failed(error: RedisError | OSError, parser: DeadlineParser) -> ExchangeError:
    if getattr(error, "status_code", None):  # a first reply that redis-py takes for its own failure
        return _refused(error)
    if isinstance(error, TimeoutError | RedisTimeoutError):
        late = time.monotonic() >= parser.deadline
        got = _LATE if late else f"no byte for {parser.idle_s * 1000:.0f} ms"
        return ExchangeError(got, "an answer")
    if isinstance(error, OSError | RedisConnectionError):
        return ExchangeError(f"a broken connection ({error})", "an answer", was_reset=True)
    return ExchangeError(f"a malformed reply ({error})", "RESP")


def _refused(error: RedisError | OSError) -> ExchangeError:
    answer = error_text(error)
    return ExchangeError(
        f"the answer {answer!r}", "none that is an error", was_refused=True, answer=answer
    )
