"""What every request passes first: key, capacity and body limit; and what is recorded of it."""

import asyncio
import hashlib
import hmac
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.docs_page import FILES, PAGE, SCHEMA
from serving.http.json_lines import REQUESTS, describe_error
from serving.http.page_files import HOME, PAGE_FILES
from serving.http.problems import busy_response, is_openai, problem_response
from serving.http.request_ids import HEADER, name_request
from serving.http.request_spans import describe_answer, request_span
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings

HEALTH = ("/health/live", "/health/ready")
_OPEN = (*HEALTH, PAGE, SCHEMA, HOME)  # hold nothing secret; the page asks for a key itself

_UNCOUNTED = "uncounted"  # a full service must still say that it is full
_KINDS = {
    **dict.fromkeys((*HEALTH, "/metrics"), _UNCOUNTED),
    "/events": "events",
    "/v1/embeddings": "embeddings",
}
_CLIENT_LEFT = 499
_log = logging.getLogger(REQUESTS)


class RequestGate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: ServiceMetrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        key = settings.api_key
        self._key = None if key is None else _digest(key.get_secret_value().encode())
        self._in_flight: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        answer = _Answer(send, name_request(scope["headers"]))
        is_openai.set(scope["path"].startswith("/v1/"))
        kind = _kind(scope["path"])
        self._in_flight[kind] += 1
        with self._metrics.one_in_flight(), request_span(scope["headers"]) as span:
            body = _BoundedBody(receive, self._settings)
            try:
                await (self._refusal(scope, kind) or self._app)(scope, body.receive, answer)
            except asyncio.CancelledError:
                if not body.client_left:
                    raise
                if not answer.is_started:
                    answer.status = _CLIENT_LEFT
            except Exception as error:
                await self._fail(scope, receive, answer, error)
            finally:
                body.close()
                self._in_flight[kind] -= 1
                self._record(scope, answer, time.perf_counter() - started, span)

    def _refusal(self, scope: Scope, kind: str) -> Response | None:
        """Why the request is not let in, decided before its body is read."""
        path, headers, settings = scope["path"], scope["headers"], self._settings
        hosts = settings.allowed_hosts
        if hosts is not None and (host := _host(headers)) not in hosts:
            expected = ", ".join(hosts)
            return problem_response(
                400,
                f"Host: got {host!r}, expected one of {expected}. Call the service by one, or "
                "start it with --allowed-host.",
            )
        is_open = path in _OPEN or path.startswith((FILES, PAGE_FILES))
        if self._key is not None and not is_open and not self._knows_key(headers):
            return problem_response(
                401,
                "Got no valid API key, expected it as Authorization: Bearer KEY or X-API-Key: KEY.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        n_at_once = self._in_flight[kind]
        if n_at_once > settings.max_concurrency and kind != _UNCOUNTED:
            return busy_response(
                429,
                f"Got request {n_at_once} at once, expected at most {settings.max_concurrency}. "
                "Try again later.",
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
        found = describe_error(error)
        _log.error("%s at %s", found["error"], found["where"][-1], extra={"fields": found})
        if not answer.is_started:
            detail = "The service failed on this request; its log says where."
            await problem_response(500, detail)(scope, receive, answer)

    def _record(self, scope: Scope, answer: "_Answer", seconds: float, span: Any) -> None:
        route = _route(scope)
        method = scope["method"] if route != "(none)" else "-"
        self._metrics.add_request(route, answer.status, seconds)
        describe_answer(span, method, route, answer.status)
        if self._settings.log_requests:
            line = {
                "method": method,
                "route": route,
                "status": answer.status,
                "ms": round(seconds * 1000, 2),
                "degraded": bool(scope.get("state", {}).get("degraded")),
            }
            _log.info("answered", extra={"fields": line})


class _Answer:
    """The `send` of a request, which says its name and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.is_started = False
        self.status = 500

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self.status = message["status"]
            message["headers"] = [*message["headers"], (HEADER, self.request_id.encode())]
        await self._send(message)


class _BoundedBody:
    """The `receive` of a request, which ends a body that is too large or too slow.

    When the body is whole, the request is cancelled as soon as its client leaves.

    Attributes
    ----------
    client_left : whether it was
    """

    def __init__(self, receive: Receive, settings: ServiceSettings) -> None:
        self._receive = receive
        self._settings = settings
        self._until = time.monotonic() + settings.body_timeout_ms / 1000
        self._n_bytes = 0
        self._is_whole = False
        self._watch: asyncio.Task[None] | None = None
        self.client_left = False

    def close(self) -> None:
        """Stop watching the client."""
        if self._watch is not None:
            self._watch.cancel()

    async def _cancel_when_left(self, request: "asyncio.Task[Any]") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_left = True
        request.cancel()

    async def receive(self) -> Message:
        if self._is_whole:
            await asyncio.Event().wait()  # only a disconnection can follow, which cancels this
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
        request = asyncio.current_task()
        if self._is_whole and request is not None:
            self._watch = asyncio.create_task(self._cancel_when_left(request))
        return message


def _too_large(got: str, settings: ServiceSettings) -> str:
    limit = settings.max_body_bytes
    return f"The body: got {got} bytes, expected at most {limit:,}. Send it in parts."


def _route(scope: Scope) -> str:
    """What a request was answered by, without what it asked for."""
    if scope["path"].startswith(PAGE_FILES):
        return f"{PAGE_FILES}{{file}}"  # files are mounted, so that no route has them
    return getattr(scope.get("route"), "path", "(none)")


def _kind(path: str) -> str:
    """Whose capacity a request takes: one kind must not shut out another."""
    if path.startswith(("/items", "/users")):
        return "rows"
    return _KINDS.get(path, "answers")


def _host(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The name without the port."""
    said = next((value for name, value in headers if name == b"host"), b"").decode("latin-1")
    name, _, port = said.rpartition(":")
    return (name if name and port.isdigit() else said).lower()


def _content_length(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return None


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
