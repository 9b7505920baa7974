"""A real `feast-fusion serve` and its clients, over connections that are kept."""

import http.client
import json
import re
import signal
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
EVENTS_PER_REQUEST = 20


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
    """A call that posts over a connection of its own, and checks the status."""
    local = threading.local()

    def post() -> Any:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port)
        local.connection.request(
            "POST", path, json.dumps(body()), {"Content-Type": "application/json"}
        )
        answer = local.connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 202), (answer.status, content[:500])
        return json.loads(content)

    return post


def events_per_second(port: int, users: list[str], items: list[str], seconds: float) -> float:
    """Acknowledged events per second, posted by 8 clients."""
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
                for _ in range(EVENTS_PER_REQUEST)
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
