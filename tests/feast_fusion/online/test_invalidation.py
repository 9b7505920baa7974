import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from feast.infra.key_encoding_utils import serialize_entity_key_prefix
from redis import Redis
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

from cli.redis_process import find_redis_server
from feast_fusion.online.cache.invalidation import (
    HEARTBEAT_S,
    REPLY_DEADLINE_S,
    InvalidationListener,
)
from feast_fusion.online.cache.row_cache import Row, RowCache
from tests.feast_fusion.online.redis_faults import proxy
from tests.waiting import PATIENCE_S, wait_until

ITEMS = serialize_entity_key_prefix(["item"])
USERS = serialize_entity_key_prefix(["user"])
FIELDS = [b"a", b"b", b"c"]
PASSWORD = "hunter2"


class Unguarded(RowCache):
    """Planted bug: takes every reply, however old."""

    def begin(self) -> int:
        return 1 << 60


class Server:
    """A redis-server on a port that stays its own, so that it can come back empty."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._command = [str(find_redis_server()), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--port", str(self.port), "--save", "", "--loglevel", "warning"]
        self._command += options
        self.client = Redis(port=self.port, password=PASSWORD, socket_timeout=5.0)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, "redis-server up")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def trackers(self) -> list[dict[str, str]]:
        """The connections that the server tells of changes."""
        return [one for one in self.client.client_list() if "B" in one["flags"]]


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"), "--requirepass", PASSWORD)
    with closing(server.client):
        yield server
        server.stop()


@pytest.fixture
def server(shared_server: Server) -> Server:
    shared_server.client.flushall()
    return shared_server


@dataclass
class Cached:
    """A store in miniature: a cache, its listener, and a client to read with."""

    cache: RowCache
    listener: InvalidationListener
    client: Redis

    def __post_init__(self) -> None:
        self.fields = self.cache.register(FIELDS)

    def read(self, keys: Sequence[bytes]) -> list[Row]:
        """The rows of `keys`, as a store would read them."""
        token = self.cache.begin()
        found = self.cache.get(self.fields, keys)
        missing = [key for key, row in zip(keys, found, strict=True) if row is None]
        replies = self.ask(missing)
        self.cache.put(self.fields, missing, replies, token)
        fresh = map(tuple, replies)
        return [next(fresh) if row is None else row for row in found]

    def ask(self, keys: Sequence[bytes]) -> list[list[bytes | None]]:
        with self.client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hmget(key, FIELDS)
            replies: list[list[bytes | None]] = pipeline.execute()
        return replies

    def held(self, key: bytes) -> Row | None:
        return self.cache.get(self.fields, [key])[0]

    def pass_a_mark(self) -> None:
        """Return when every change that was acknowledged before this call has been applied.

        Redis names changes in their order, and the mark's is the last.
        """
        mark = ITEMS + b"mark"
        wait_until(lambda: self.read([mark]) and self.held(mark), "the mark to be held")
        self.client.hset(mark, mapping={b"a": os.urandom(8)})
        wait_until(lambda: self.held(mark) is None, "the mark's invalidation")

    def wait_open(self) -> None:
        assert self.listener.wait_until_open(PATIENCE_S)


@contextmanager
def cached(
    client: Redis, prefixes: Sequence[bytes] = (ITEMS,), kind: type[RowCache] = RowCache
) -> Iterator[Cached]:
    cache = kind(1 << 24)
    with closing(InvalidationListener(client, cache, prefixes)) as listener:
        listener.start()
        yield Cached(cache, listener, client)


@pytest.fixture
def store(server: Server) -> Iterator[Cached]:
    with cached(server.client) as store:
        store.wait_open()
        yield store


def put_version(client: Redis, key: bytes, version: int) -> None:
    client.hset(key, mapping=dict.fromkeys(FIELDS, b"%d" % version))


def row_of(version: int) -> Row:
    return (b"%d" % version,) * len(FIELDS)


def test_a_write_takes_the_row_out(server: Server, store: Cached) -> None:
    key, absent = ITEMS + b"1", ITEMS + b"2"
    put_version(server.client, key, 1)
    store.pass_a_mark()
    assert store.read([key, absent]) == [row_of(1), (None,) * 3]
    assert store.held(absent) == (None,) * 3
    put_version(server.client, key, 2)
    put_version(server.client, absent, 7)
    store.pass_a_mark()
    assert store.held(key) is None and store.held(absent) is None
    assert store.read([key, absent]) == [row_of(2), row_of(7)]


@pytest.mark.parametrize(("kind", "expected"), [(RowCache, None), (Unguarded, row_of(1))])
def test_a_reply_overtaken_by_its_invalidation(
    server: Server, kind: type[RowCache], expected: Row | None
) -> None:
    """Kept only by the planted bug, which then serves the old row for ever."""
    with cached(server.client, kind=kind) as store:
        store.wait_open()
        key = ITEMS + b"1"
        put_version(server.client, key, 1)
        store.pass_a_mark()
        token = store.cache.begin()
        reply = store.ask([key])
        put_version(server.client, key, 2)
        store.pass_a_mark()
        store.cache.put(store.fields, [key], reply, token)
        assert store.held(key) == expected


WRITER = """
import sys
from redis import Redis
port, password, prefix, n_keys, n_versions = sys.argv[1:]
fields = [b"a", b"b", b"c"]
with Redis(port=int(port), password=password) as client:
    for version in range(1, int(n_versions) + 1):
        for key in range(int(n_keys)):
            name = bytes.fromhex(prefix) + b"%d" % key
            client.hset(name, mapping=dict.fromkeys(fields, b"%d" % version))
"""


def test_readers_beside_a_writer_see_whole_rows_that_only_get_newer(
    server: Server, store: Cached
) -> None:
    n_keys, n_versions = 40, 150
    keys = [ITEMS + b"%d" % i for i in range(n_keys)]
    for key in keys:
        put_version(server.client, key, 0)
    stop, faults = threading.Event(), list[str]()

    def read_on() -> None:
        seen: dict[bytes, int] = defaultdict(int)
        while not stop.is_set() and not faults:
            for key, row in zip(keys, store.read(keys), strict=True):
                version = int(row[0] or b"-1")
                if row != row_of(version):
                    faults.append(f"{row} of two versions")
                if version < seen[key]:
                    faults.append(f"{version} after {seen[key]}")
                seen[key] = version

    threads = [threading.Thread(target=read_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    arguments = [str(server.port), PASSWORD, ITEMS.hex(), str(n_keys), str(n_versions)]
    subprocess.run([sys.executable, "-c", WRITER, *arguments], check=True, timeout=60)
    store.pass_a_mark()
    last = store.read(keys)  # beside the readers, who may hold older replies
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert last == [row_of(n_versions)] * n_keys == store.read(keys)
    assert store.cache.stats.hits > 0


def test_a_key_whose_time_is_up_is_taken_out(server: Server, store: Cached) -> None:
    key = ITEMS + b"1"
    put_version(server.client, key, 1)
    server.client.pexpire(key, 200)
    wait_until(lambda: store.read([key]) == [(None,) * 3], "the expiry")


@pytest.mark.parametrize("command", ["flushall", "flushdb"])
def test_a_flush_drops_everything_and_the_cache_stays_open(
    server: Server, store: Cached, command: str
) -> None:
    key = ITEMS + b"1"
    put_version(server.client, key, 1)
    store.pass_a_mark()
    store.read([key])
    assert store.held(key)
    getattr(server.client, command)()
    wait_until(lambda: store.held(key) is None, "the drop")
    assert store.cache.stats.n_rows == 0
    assert store.read([key]) == [(None,) * 3]
    assert len(server.trackers()) == 1


def test_a_killed_connection_drops_the_cache_until_there_is_another(
    server: Server, store: Cached
) -> None:
    key = ITEMS + b"1"
    store.pass_a_mark()
    store.read([key])
    (tracker,) = server.trackers()
    server.client.client_kill_filter(_id=tracker["id"])
    wait_until(lambda: store.cache.stats.drops == 1, "the drop")
    put_version(server.client, key, 1)
    assert store.read([key]) == [row_of(1)]
    store.wait_open()
    assert server.trackers()[0]["id"] != tracker["id"]
    store.pass_a_mark()
    assert store.read([key]) == [row_of(1)] == [store.held(key)]


def test_a_paused_server_ends_the_lease_within_the_bound(server: Server, store: Cached) -> None:
    key = ITEMS + b"1"
    store.pass_a_mark()
    store.read([key])
    assert store.held(key)
    server.process.send_signal(signal.SIGSTOP)
    try:
        bound = time.monotonic() + HEARTBEAT_S + REPLY_DEADLINE_S
        wait_until(lambda: time.monotonic() > bound, "the bound")
        assert store.held(key) is None
        wait_until(lambda: store.cache.stats.n_rows == 0, "the drop")
    finally:
        server.process.send_signal(signal.SIGCONT)
    store.wait_open()
    store.pass_a_mark()


def test_writes_that_a_dead_connection_does_not_tell_of_stay_hidden_no_longer_than_the_bound(
    server: Server,
) -> None:
    key = ITEMS + b"1"
    put_version(server.client, key, 1)
    with (
        proxy(server.port) as wire,
        Redis(port=wire.port, password=PASSWORD) as wired,
        cached(wired) as store,
    ):
        store.wait_open()
        store.client = server.client  # readers and writers have connections that work
        store.read([key])
        assert store.held(key) == row_of(1)
        wire.drip(1, 60.0)
        put_version(server.client, key, 2)
        bound = time.monotonic() + HEARTBEAT_S + REPLY_DEADLINE_S
        wait_until(lambda: time.monotonic() > bound, "the bound")
        assert store.read([key]) == [row_of(2)]


def test_a_server_that_comes_back_empty_is_believed(server: Server, store: Cached) -> None:
    key = ITEMS + b"1"
    put_version(server.client, key, 1)
    store.pass_a_mark()
    store.read([key])
    server.stop()
    wait_until(lambda: not store.cache.is_open, "the end of the lease")
    server.start()
    assert store.read([key]) == [(None,) * 3]
    store.wait_open()
    store.pass_a_mark()
    put_version(server.client, key, 2)
    store.pass_a_mark()
    assert store.read([key]) == [row_of(2)]


def test_a_master_that_becomes_a_replica_is_not_cached(server: Server, store: Cached) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server.client.replicaof("127.0.0.1", nobody.getsockname()[1])
        wait_until(lambda: store.cache.stats.drops == 1, "the drop")
        server.client.replicaof("NO", "ONE")
    store.wait_open()


def test_a_wrong_password_is_told_once_and_not_shown(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with (
        Redis(port=server.port, password="secret-but-wrong") as client,
        cached(client) as store,
    ):
        wait_until(lambda: caplog.records, "the warning")
        assert not store.listener.wait_until_open(0.2)
    assert len(caplog.records) == 1
    assert "WRONGPASS" in caplog.text or "invalid" in caplog.text
    assert "secret" not in caplog.text


def test_closing_leaves_no_thread_and_no_connection(server: Server) -> None:
    n_threads = threading.active_count()
    with cached(server.client) as store:
        store.wait_open()
    assert threading.active_count() == n_threads
    assert not store.cache.is_open
    wait_until(lambda: server.trackers() == [], "the connection to be gone")


def test_it_follows_the_master_that_a_sentinel_names(server: Server, tmp_path: Path) -> None:
    settings_file = tmp_path / "sentinel.conf"
    settings_file.write_text(
        f"sentinel monitor shop 127.0.0.1 {server.port} 1\nsentinel auth-pass shop {PASSWORD}\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(find_redis_server()), str(settings_file), "--sentinel", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    sentinel = Sentinel([("127.0.0.1", port)], password=PASSWORD)
    try:
        with sentinel.master_for("shop") as client, cached(client) as store:
            store.wait_open()
            store.pass_a_mark()
    finally:
        for one in sentinel.sentinels:
            one.close()
        process.kill()
        process.wait()
