"""A connection that a client cannot hold by sending its head slowly or by reading no answer."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.http.settings import ServiceSettings


def guarded(settings: ServiceSettings) -> type[H11Protocol]:
    """The class of connections for uvicorn, with the limits of these settings."""
    return type("Guarded", (_GuardedConnection,), {"settings": settings, "waiting": {}})


class _GuardedConnection(H11Protocol):
    """Closed where a head is not whole, or an answer not read, in time; and to make room.

    Beyond the cap the one that has waited longest without a whole head gives way to a new one, so
    that nobody can shut others out by keeping connections open.

    Attributes
    ----------
    waiting : connections without a whole head, longest first, and what closes them
    """

    settings: ClassVar[ServiceSettings]
    waiting: ClassVar[dict["_GuardedConnection", asyncio.TimerHandle]]
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first head; make room where there is none."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.settings.max_connections:
            next(iter(self.waiting)).transport.abort()

    def data_received(self, data: bytes) -> None:
        """The end of a head, or more of it."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next head; uvicorn closes sooner what sends nothing of it."""
        super().on_response_complete()
        if self.cycle.response_complete:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        limit_s = self.settings.write_timeout_ms / 1000
        self._reading = self.loop.call_later(limit_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left that would close it."""
        super().connection_lost(exc)
        self._stop_waiting()
        if self._reading is not None:
            self._reading.cancel()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        limit_s = self.settings.head_timeout_ms / 1000
        self.waiting[self] = self.loop.call_later(limit_s, self.transport.abort)

    def _stop_waiting(self) -> None:
        timer = self.waiting.pop(self, None)
        if timer is not None:
            timer.cancel()
