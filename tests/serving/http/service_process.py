"""The service as its clients see it: over a socket, in a process of its own or in this one."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from serving.http.guarded_connection import guarded
from serving.http.settings import ServiceSettings
from tests.applying import apply_here
from tests.conftest import Project, open_project
from tests.waiting import wait_until

KEY = "correct-horse-battery-staple"
_START_S, _END_S = 600.0, 300.0  # of a hang: a busy machine is slow, not wrong


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Of a problem, which must be a well-formed one."""
        problem = self.json()
        assert self.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= set(problem)
        assert problem["status"] == self.status
        return str(problem["detail"])


@dataclass(frozen=True)
class Service:
    port: int
    headers: dict[str, str]

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        sent = json.dumps(body).encode()
        return self.ask("POST", path, sent, {"content-type": "application/json", **headers})

    def ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            client.request(method, path, body, self.headers | headers)
            return _read(client.getresponse())

    @contextmanager
    def begun(self, path: str, body: bytes) -> Iterator[Callable[[], Answer]]:
        """A request in flight, all but the last byte sent; the call sends that and reads."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as client:
            client.putrequest("POST", path)
            for name, value in self.headers.items():
                client.putheader(name, value)
            client.putheader("content-type", "application/json")
            client.putheader("content-length", str(len(body)))
            client.endheaders(body[:-1])

            def finish() -> Answer:
                client.send(body[-1:])
                return _read(client.getresponse())

            yield finish

    @property
    def n_in_flight(self) -> int:
        """Requests in flight, without the one that asks."""
        return int(self.metric("fusion_requests_in_flight")) - 1

    def metric(self, name: str) -> float:
        """The sum of a metric over the labels that `name` does not give."""
        return self.metrics(name)[0]

    def metrics(self, *names: str) -> list[float]:
        """As `metric`, of several as they were at one instant."""
        lines = self.get("/metrics").body.decode().splitlines()
        return [
            sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
            for name in names
        ]


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


@dataclass(frozen=True)
class ServiceProcess:
    service: Service
    process: subprocess.Popen[str]
    log: Path
    said: str  # the first line on its standard output

    def lines(self) -> list[dict[str, Any]]:
        """Of the log; all of them are JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(_END_S)


def copy_project(project: Project, home: Path, data: Path | None = None) -> Project:
    """The project with all it has made, applied in a home of its own; its Redis does not run.

    Its files are those of the original, or copies in the folder `data`.
    """
    ignored = shutil.ignore_patterns("redis.json", "redis.lock")
    shutil.copytree(project.workspace.home, home, ignore=ignored)
    description = project.workspace.dataset.path
    if data is not None:
        description = shutil.copytree(description.parent, data) / description.name
    copied = open_project(description, home)
    apply_here(copied.workspace)
    return copied


@contextmanager
def service_process(
    project: Project, log: Path, *options: str, **variables: str
) -> Iterator[ServiceProcess]:
    """`feast-fusion serve` on a free port, once it says that it listens."""
    command = [str(Path(sys.executable).parent / "feast-fusion"), "serve", "--port", "0", *options]
    environment = os.environ | {
        "FUSION_DATASET": str(project.workspace.dataset.path),
        "FUSION_HOME": str(project.workspace.home),
    }
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:  # closes its output, waits
        try:
            assert process.stdout is not None
            line = process.stdout.readline()  # or its end, when it fails
            found = re.search(r"http://127.0.0.1:(\d+)", line)
            assert found, log.read_text()
            port = int(found[1])
            key = variables.get("FUSION_API_KEY")
            headers = {"x-api-key": key} if key else {}
            yield ServiceProcess(Service(port, headers), process, log, line)
        finally:
            if process.poll() is None:
                process.kill()


@contextmanager
def serving_here(app: FastAPI, settings: ServiceSettings | None = None) -> Iterator[Service]:
    """The application behind a real socket of this process."""
    http = guarded(settings or ServiceSettings())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, http=http, lifespan="on"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Service(listener.getsockname()[1], {})
        finally:
            server.should_exit = True
            thread.join(_END_S)
