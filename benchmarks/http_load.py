"""A real `feast-fusion serve` and its clients, over connections that are kept."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from intake.workspace import Workspace

EVENT_CLIENTS = 8


@contextmanager
def served(workspace: Workspace, n_processes: int = 1) -> Iterator[int]:
    """The port of a `feast-fusion serve` of this workspace."""
    command = [str(Path(sys.executable).parent / "feast-fusion"), "serve", "--port", "0"]
    command += ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    command += ["--workers", str(n_processes)]
    process = subprocess.Popen([*command, "--no-log-requests"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(r"http://[^:]+:(\d+)", line)
            if found:
                break
        else:
            raise RuntimeError(f"feast-fusion serve ended with exit code {process.wait()}")
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        process.stdout.close()


def posting(port: int, path: str, body: Callable[[], dict[str, Any]]) -> Callable[[], Any]:
    """A call that posts over a connection of its own, and checks the status.

    By hand: Python's own client takes as much of a shared core as a short answer of the service.
    """
    local = threading.local()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"

    def post() -> Any:
        if not hasattr(local, "link"):
            local.link = socket.create_connection(("127.0.0.1", port))
            local.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sent = json.dumps(body()).encode()
        local.link.sendall(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)
        status, content = _answer(local.link)
        assert status == b"200", (status, content[:500])
        return json.loads(content)

    return post


def _answer(link: socket.socket) -> tuple[bytes, bytes]:
    """Status and body of the answer that comes."""
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += _received(link)
    length = re.search(rb"content-length: (\d+)", got[:end], re.IGNORECASE)
    assert length is not None, got[:end]
    while len(got) < end + 4 + int(length[1]):
        got += _received(link)
    return got.split(b" ", 2)[1], got[end + 4 :]


def _received(link: socket.socket) -> bytes:
    piece = link.recv(262_144)
    assert piece, "the service closed a connection"
    return piece


def events_per_second(
    port: int, users: list[str], items: list[str], n: int, seconds: float
) -> float:
    """Acknowledged events per second, `n` in a request, posted by 8 clients."""
    rng = np.random.default_rng(0)

    def body() -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            "events": [
                {
                    "event_id": uuid.uuid4().hex,
                    "user_id": users[rng.integers(len(users))],
                    "item_id": items[rng.integers(len(items))],
                    "event_timestamp": now,
                    "value": 4.0,
                }
                for _ in range(n)
            ]
        }

    post, counts = posting(port, "/events", body), [0] * EVENT_CLIENTS
    end = time.perf_counter() + seconds

    def work(client: int) -> None:
        while time.perf_counter() < end:
            answer = post()
            counts[client] += sum(each["status"] == "accepted" for each in answer["outcomes"])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(EVENT_CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)
