"""Clients that are slow, leave or crowd: real sockets, the gate and connections of a small page."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from fastapi import FastAPI, Request, Response

from serving.http.gate import RequestGate
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings
from tests.serving.http.service_process import Service, serving_here
from tests.waiting import PATIENCE_S, wait_until

HALF = b"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
WAITING = b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


class Page:
    """What is behind the gate: an answer at once, a large one, one that never comes."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.n_waiting = 0
        self.metrics = ServiceMetrics()
        self.app = FastAPI()
        self.app.add_middleware(RequestGate, settings=settings, metrics=self.metrics)
        self.app.get("/events")(lambda: "here")
        self.app.get("/metrics")(lambda: Response(self.metrics.render()))
        self.app.get("/large")(lambda: "x" * 1_000_000)
        self.app.post("/wait")(self.wait)
        self.app.post("/v1/embeddings")(self.wait)

    async def wait(self, request: Request) -> None:
        await request.json()
        self.n_waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.n_waiting -= 1


@contextmanager
def page(**limits: int | tuple[str, ...]) -> Iterator[tuple[Page, Service]]:
    settings = ServiceSettings(log_requests=False, **limits)  # type: ignore[arg-type]
    shown = Page(settings)
    with serving_here(shown.app, settings) as service:
        yield shown, service


def connect(service: Service, sent: bytes) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE_S)
    opened.sendall(sent)
    return opened


def is_closed(opened: socket.socket) -> bool:
    """Whether the other side has ended the connection; waits until it says something."""
    try:
        return opened.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", HALF, b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n" + HALF])
def test_a_head_that_is_not_whole_in_time_ends_the_connection(sent: bytes) -> None:
    with page(head_timeout_ms=200) as (_, service), connect(service, sent) as slow:
        while not is_closed(slow):
            pass  # the answer to the whole one before it


def test_nobody_is_shut_out_by_connections_that_are_kept_open() -> None:
    with page(max_connections=8, head_timeout_ms=600_000) as (_, service), ExitStack() as held:
        slow = [held.enter_context(connect(service, HALF)) for _ in range(40)]
        for _ in range(20):
            assert service.get("/events").json() == "here"
        assert all(is_closed(each) for each in slow[:32])


def test_a_client_that_does_not_read_is_let_go() -> None:
    asked = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n" * 20
    with page(write_timeout_ms=200) as (_, service), connect(service, asked) as silent:
        wait_until(lambda: is_served(silent))
        wait_until(lambda: not is_served(silent))


def is_served(client: socket.socket) -> bool:
    """Whether this process holds the other end of the connection."""
    held = psutil.Process().net_connections("tcp")
    return any(each.raddr and each.raddr.port == client.getsockname()[1] for each in held)


def test_work_ends_with_the_client_that_asked_for_it() -> None:
    with page() as (shown, service):
        with connect(service, WAITING):
            wait_until(lambda: shown.n_waiting == 1)
        wait_until(lambda: shown.n_waiting == 0)
        wait_until(
            lambda: service.metric('fusion_request_seconds_count{route="/wait",status="499"}') == 1
        )


def test_one_kind_of_request_does_not_shut_out_another() -> None:
    body = json.dumps({}).encode()
    with page(max_concurrency=2) as (shown, service), ExitStack() as held:
        for _ in range(2):
            asked = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" + body
            held.enter_context(connect(service, asked))
        wait_until(lambda: shown.n_waiting == 2)
        assert service.post("/v1/embeddings", {}).status == 429
        assert service.get("/events").json() == "here"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1:80", 200), ("localhost", 200), ("[::1]:9", 200), ("evil.example", 400), ("", 400)],
)
def test_a_page_elsewhere_cannot_call_it_by_a_name_of_its_own(host: str, status: int) -> None:
    with page(allowed_hosts=("localhost", "127.0.0.1", "[::1]")) as (_, service):
        answer = service.get("/events", host=host)
        assert answer.status == status
        if status == 400:
            assert f"got {host!r}, expected one of localhost" in answer.detail


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"x-request-id": "cart-7:ü".encode().decode("latin-1")}, r"[0-9a-f]{32}"),
        ({"x-request-id": "cart-7/2"}, r"cart-7/2"),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"traceparent": "00-zz", "x-request-id": "x" * 129}, r"[0-9a-f]{32}"),
        ({}, r"[0-9a-f]{32}"),
    ],
)
def test_a_request_has_one_name(given: dict[str, str], expected: str) -> None:
    with page(max_body_bytes=10) as (_, service):
        too_large = service.ask("POST", "/wait", b"x" * 11, given)
        for answer in (service.get("/events", **given), too_large):
            assert re.fullmatch(expected, answer.headers["x-request-id"])
    assert too_large.status == 413
    assert too_large.json()["request_id"] == too_large.headers["x-request-id"]
