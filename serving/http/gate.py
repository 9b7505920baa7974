"""What every request passes first: key, capacity and body limit; and what is recorded of it."""

import asyncio
import hashlib
import hmac
import json
import logging
import time
import traceback
from collections.abc import Iterable

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.problems import busy_response, problem_response
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings

HEALTH = ("/health/live", "/health/ready")
DOCS = ("/docs", "/openapi.json")

_UNCOUNTED = (*HEALTH, "/metrics")  # a full service must still say that it is full
_log = logging.getLogger("serving.http.requests")


class RequestGate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        key = settings.api_key
        self._key = None if key is None else _digest(key.get_secret_value().encode())
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send)
        is_counted = scope["path"] not in _UNCOUNTED
        self._in_flight += is_counted
        with self._metrics.one_in_flight():
            try:
                body = _BoundedBody(receive, self._settings)
                await (self._refusal(scope) or self._app)(scope, body.receive, answer)
            except Exception as error:
                await self._fail(scope, receive, answer, error)
            finally:
                self._in_flight -= is_counted
                self._record(scope, answer.status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> Response | None:
        """Why the request is not let in, decided before its body is read."""
        path, headers, settings = scope["path"], scope["headers"], self._settings
        if self._key is not None and path not in (*HEALTH, *DOCS) and not self._knows_key(headers):
            return problem_response(
                401,
                "Got no valid API key, expected it as Authorization: Bearer KEY or X-API-Key: KEY.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if self._in_flight > settings.max_concurrency and path not in _UNCOUNTED:
            return busy_response(
                429,
                f"Got request {self._in_flight} at once, expected at most "
                f"{settings.max_concurrency}. Try again later.",
            )
        length = _content_length(headers)
        if length is not None and length > settings.max_body_bytes:
            return problem_response(413, _too_large(f"{length:,}", settings))
        return None

    def _knows_key(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        is_known = False
        for name, value in headers:
            if name == b"x-api-key":
                is_known |= self._matches(value)
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                is_known |= self._matches(value[7:])
        return is_known

    def _matches(self, value: bytes) -> bool:
        # digests of equal length: neither the key's content nor its length shows in the time taken
        return self._key is not None and hmac.compare_digest(_digest(value.strip()), self._key)

    async def _fail(
        self, scope: Scope, receive: Receive, answer: "_Answer", error: Exception
    ) -> None:
        """Log where the error arose, without its message, which may hold a user's text."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        _log.error(json.dumps({"error": type(error).__name__, "where": where[-8:]}))
        if not answer.is_started:
            detail = "The service failed on this request; its log says where."
            await problem_response(500, detail)(scope, receive, answer)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        self._metrics.add_request(route, status, seconds)
        if self._settings.log_requests:
            line = {
                "time": round(time.time(), 3),
                "method": scope["method"] if route != "(none)" else "-",
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "degraded": bool(scope.get("state", {}).get("degraded")),
            }
            _log.info(json.dumps(line))


class _Answer:
    """The `send` of a request, which remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self.status = message["status"]
        await self._send(message)


class _BoundedBody:
    """The `receive` of a request, which ends a body that is too large or too slow."""

    def __init__(self, receive: Receive, settings: ServiceSettings) -> None:
        self._receive = receive
        self._settings = settings
        self._until = time.monotonic() + settings.body_timeout_ms / 1000
        self._n_bytes = 0
        self._is_whole = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()  # only a disconnection can follow
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            limit = self._settings.body_timeout_ms
            detail = f"The body: not whole after {limit:,} ms. Send it faster or in parts."
            raise HTTPException(408, detail, headers={"Connection": "close"}) from None
        self._n_bytes += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._n_bytes > self._settings.max_body_bytes:
            raise HTTPException(413, _too_large("more", self._settings))
        return message


def _too_large(got: str, settings: ServiceSettings) -> str:
    limit = settings.max_body_bytes
    return f"The body: got {got} bytes, expected at most {limit:,}. Send it in parts."


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return None


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
