"""Services of one home on ports of their own, which die and are started again."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from intake.workspace import Workspace
from tests.feast_fusion.online.redis_faults import free_port

_END_S = 120.0


class Service:
    """A `feast-fusion serve` on a port that stays the same."""

    def __init__(self, workspace: Workspace, log: Path) -> None:
        self.port = free_port()
        self._log = log
        self._options = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the service runs"
        return self._process.pid

    def start(self) -> None:
        program = str(Path(sys.executable).parent / "feast-fusion")
        command = [program, "serve", "--port", str(self.port), "--no-log-requests"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, env=os.environ.copy()
            )

    def end(self, number: signal.Signals) -> int:
        """Send a signal; the exit code."""
        assert self._process is not None, "the service runs"
        self._process.send_signal(number)
        return self._process.wait(_END_S)

    def has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self._get("/health/ready")[0] == 200
        return False

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = self._get("/metrics")[1].decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def post(self, path: str, body: object) -> object:
        """The answer to a request that must be answered."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            client.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = client.getresponse()
            content = answer.read()
        assert answer.status == 200, (answer.status, content[:500])
        return json.loads(content)

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as client:
            client.request("GET", path)
            answer = client.getresponse()
            return answer.status, answer.read()


@contextmanager
def fleet(workspace: Workspace, n: int, logs: Path) -> Iterator[list[Service]]:
    """Services that have been started; they are asked to end in the end."""
    services = [Service(workspace, logs / f"service-{i}.log") for i in range(n)]
    try:
        for service in services:
            service.start()
        yield services
    finally:
        for service in services:
            if not service.has_ended():
                service.end(signal.SIGTERM)
