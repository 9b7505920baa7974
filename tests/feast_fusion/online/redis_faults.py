"""A real redis-server that can be stopped, paused and emptied, and a proxy that spoils its replies.

Everything listens on 127.0.0.1 on a port that stays the same however often the server restarts.
"""

import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from cli.redis_process import RunningRedis, find_redis_server
from tests.waiting import PATIENCE_S, wait_until

HOST = "127.0.0.1"


class RedisProcess:
    """A redis-server without persistence, so every start of it is empty."""

    def __init__(self, folder: Path, *options: str, is_sentinel: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._is_sentinel = is_sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        # Some options, and all of a sentinel's, exist in a file only.
        lines = ["bind 127.0.0.1", f"port {self.port}", f"dir {self._folder}", "logfile redis.log"]
        lines += [] if self._is_sentinel else ['save ""', "appendonly no"]
        file = self._folder / "redis.conf"
        file.write_text("\n".join([*lines, *self._options]) + "\n", encoding="utf-8")
        command = [str(find_redis_server()), str(file)]
        command += ["--sentinel"] if self._is_sentinel else []
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._accepts, f"redis-server on port {self.port}")

    def stop(self) -> None:
        """Kill it: its port refuses connections from then on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart_empty(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """It keeps its connections, accepts new ones, and answers none of them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    @contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        """A plain redis-py client with patience, closed in the end."""
        never = Retry(NoBackoff(), 0)
        client = Redis(host=HOST, port=self.port, socket_timeout=PATIENCE_S, retry=never, **options)
        try:
            yield client
        finally:
            client.close()

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the server runs"
        os.kill(self._process.pid, number)

    def _accepts(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "the server ended"
        with self.client() as client:
            try:
                client.ping()
            except RedisError as error:
                return "Authentication" in str(error)
            return True


@contextmanager
def redis_process(folder: Path, *options: str, is_sentinel: bool = False) -> Iterator[RedisProcess]:
    """A started `RedisProcess`, killed in the end whatever state it is in."""
    server = RedisProcess(folder, *options, is_sentinel=is_sentinel)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def redis_cluster(folder: Path, n_nodes: int) -> Iterator[list[RedisProcess]]:
    """Primaries that share the 16,384 slots evenly."""
    options = ("cluster-enabled yes", "cluster-node-timeout 2000")
    nodes: list[RedisProcess] = []
    try:
        for i in range(n_nodes):
            nodes.append(RedisProcess(folder / str(i), *options))
            nodes[-1].start()
        bounds = [16384 * i // n_nodes for i in range(n_nodes + 1)]
        for node, first, end in zip(nodes, bounds, bounds[1:], strict=False):
            with node.client() as client:
                client.execute_command("CLUSTER ADDSLOTS", *range(first, end))
                client.execute_command("CLUSTER MEET", HOST, nodes[0].port)
        for node in nodes:
            wait_until(partial(_is_whole, node, n_nodes), "a whole cluster")
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def _is_whole(node: RedisProcess, n_nodes: int) -> bool:
    with node.client(decode_responses=True) as client:
        state = client.execute_command("CLUSTER INFO")
    return state["cluster_state"] == "ok" and int(state["cluster_size"]) == n_nodes


class Proxy:
    """Relays TCP to a port; replies can be cut off or slowed down.

    Parameters
    ----------
    target : int
        Port of the server on 127.0.0.1.
    context : ssl.SSLContext, optional
        The proxy speaks TLS to its clients with it.
    """

    def __init__(self, target: int, context: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._context = context
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._left: int | None = None
        self._drip: tuple[int, float] | None = None
        self._ended = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def cut_replies_after(self, n_bytes: int) -> None:
        """Once: let this many more bytes of replies pass, then close that connection."""
        with self._lock:
            self._left = n_bytes

    def drip(self, n_bytes: int, pause_s: float) -> None:
        """From now on pass `n_bytes` of a reply, then nothing for `pause_s`, and so on."""
        self._drip = (n_bytes, pause_s)

    def flow(self) -> None:
        """Pass everything at once again."""
        self._drip = None

    def close(self) -> None:
        self._ended.set()
        # Closing alone does not wake a thread that waits in accept or recv.
        for sock in [self._listener, *self._sockets]:
            _close(sock)
        for thread in list(self._threads):
            thread.join(PATIENCE_S)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            with suppress(OSError):
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._sockets.append(client)
            server = socket.create_connection((HOST, self._target))
            self._sockets.append(server)
            for sock in (client, server):  # or the kernel would hold drops back for 40 ms
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._run(self._relay, client, server, self._plain)
            self._relay(server, client, self._spoiled)
        _close(client)

    def _relay(
        self,
        source: socket.socket,
        sink: socket.socket,
        send: Callable[[socket.socket, bytes], None],
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                send(sink, data)
        _close(source)
        _close(sink)

    def _plain(self, sink: socket.socket, data: bytes) -> None:
        sink.sendall(data)

    def _spoiled(self, sink: socket.socket, data: bytes) -> None:
        with self._lock:
            left, self._left = self._left, None
            if left is not None and left > len(data):
                self._left = left - len(data)
                left = None
        if left is not None:
            sink.sendall(data[:left])
            raise ConnectionResetError("cut, as told")
        while self._drip is not None and data and not self._ended.is_set():
            n_bytes, pause_s = self._drip
            sink.sendall(data[:n_bytes])
            data = data[n_bytes:]
            self._ended.wait(pause_s)
        sink.sendall(data)


@contextmanager
def proxy(target: int, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A `Proxy`, closed in the end."""
    running = Proxy(target, context)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def open_redis(folder: Path) -> Iterator[RunningRedis]:
    """A Redis that asks for no password and lets its settings be changed."""
    with redis_process(folder) as started:
        yield RunningRedis(HOST, started.port, started.pid)


def free_port() -> int:
    """A port that nobody listens on, low enough for a cluster, which adds 10,000 for its bus."""
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def run_threads(work: Sequence[Callable[[], None]]) -> None:
    """Run all at once; the first failure of any of them is raised here."""
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S * 3)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def _close(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        sock.close()
