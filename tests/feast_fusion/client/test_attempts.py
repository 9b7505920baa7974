"""When a client asks again, and what it says where that does not help: against a real server."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from feast_fusion.client import AsyncClient, Client, ServiceError
from feast_fusion.client.replies import (
    RankedItem,
    Reason,
    Recommendations,
    SimilarItem,
    Submission,
)
from feast_fusion.errors import StoreUnavailableError
from serving import answers
from serving.live import acceptance

ACCEPTED = {"outcomes": [{"status": "accepted", "event_id": "a", "reason": None}], "applied": True}
BUSY = (503, {"detail": "Overloaded. Try again later.", "request_id": "r7"}, {"Retry-After": "0"})
Scripted = tuple[int, Any, dict[str, str]]


@contextmanager
def scripted(*replies: Scripted | None) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives one reply after another, None: no reply; and the bodies that came."""
    left, bodies = list(replies), list[Any]()

    class Scripted(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            bodies.append(json.loads(self.rfile.read(length)))
            reply = left.pop(0)
            if reply is None:
                self.connection.close()
                return
            status, body, headers = reply
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join()


def send(url: str, is_async: bool, retries: int = 2) -> Submission:
    events = [{"user_id": "u", "item_id": "i"}]
    if not is_async:
        with Client(url, retries=retries) as client:
            return client.send_events(events)

    async def ask() -> Submission:
        async with AsyncClient(url, retries=retries) as client:
            return await client.send_events(events)

    return asyncio.run(ask())


@pytest.mark.parametrize("is_async", [False, True])
def test_what_is_sent_again_is_the_same_event(is_async: bool) -> None:
    with scripted(None, BUSY, (200, ACCEPTED, {})) as (url, bodies):
        assert send(url, is_async).applied
    assert len(bodies) == 3 and bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["events"][0].keys() == {"event_id", "event_timestamp", "user_id", "item_id"}


@pytest.mark.parametrize("is_async", [False, True])
def test_what_another_attempt_cannot_change_is_said_at_once(is_async: bool) -> None:
    wrong = (422, {"detail": "body.n: got 0.", "request_id": "r1", "errors": [{"field": "n"}]}, {})
    with scripted(wrong) as (url, bodies), pytest.raises(ServiceError) as found:
        send(url, is_async)
    assert len(bodies) == 1
    assert str(found.value) == "422: body.n: got 0. (request r1)"
    assert found.value.errors == [{"field": "n"}]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_last_attempt_says_why(is_async: bool) -> None:
    with scripted(BUSY, BUSY) as (url, bodies), pytest.raises(ServiceError, match="503: Overload"):
        send(url, is_async, retries=1)
    assert len(bodies) == 2
    with scripted((502, b"<html>", {})) as (url, _), pytest.raises(ServiceError, match="no answer"):
        send(url, is_async, retries=0)
    with pytest.raises(StoreUnavailableError, match="Start it, or give the address"):
        send(url, is_async, retries=0)  # nobody listens there any more


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Recommendations, answers.Recommendations),
        (RankedItem, answers.RankedItem),
        (Reason, answers.Reason),
        (SimilarItem, answers.SimilarItem),
        (Submission, acceptance.Submission),
    ],
)
def test_replies_have_the_fields_of_the_service(ours: Any, theirs: Any) -> None:
    assert list(ours.model_fields) == list(theirs.__dataclass_fields__)
