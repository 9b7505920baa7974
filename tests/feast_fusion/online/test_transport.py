import hashlib
import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from feast.infra.online_stores.redis import RedisType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis._parsers import _HiredisParser

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.online.redis import resp
from feast_fusion.online.redis.circuit_breaker import CircuitBreaker
from feast_fusion.online.redis.transport import ReadGroup, Transport
from feast_fusion.redis_matrix import MatrixRedisOnlineStoreConfig
from tests.feast_fusion.online.redis_faults import (
    HOST,
    RedisProcess,
    proxy,
    redis_cluster,
    redis_process,
    run_threads,
)
from tests.waiting import wait_until

PATIENT = {
    "connect_timeout_ms": 5000,
    "read_timeout_ms": 5000,
    "deadline_ms": 20_000,
    "write_deadline_ms": 30_000,
}
SCRIPT = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]); return ARGV[2]"
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()
PASSWORD = "s3cret-Word"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with redis_process(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisProcess]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), 2) as nodes:
        yield nodes


@contextmanager
def transport_to(address: str, **options: Any) -> Iterator[Transport]:
    transport = Transport(
        MatrixRedisOnlineStoreConfig(connection_string=address, **(PATIENT | options))
    )
    try:
        yield transport
    finally:
        transport.close()


def fill(server: RedisProcess, rows: dict[bytes, dict[bytes, bytes]]) -> None:
    with server.client() as client:
        client.flushall()
        pipeline = client.pipeline(transaction=False)
        for key, row in rows.items():
            if row:
                pipeline.hset(key, mapping=row)
        pipeline.execute()


NAMES = st.binary(min_size=1, max_size=12)
GROUPS = st.lists(
    st.tuples(st.lists(NAMES, max_size=6), st.lists(NAMES, min_size=1, max_size=4)), max_size=4
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=GROUPS, data=st.data())
def test_reads_what_redis_py_reads(
    server: RedisProcess, groups: list[tuple[list[bytes], list[bytes]]], data: st.DataObject
) -> None:
    keys = sorted({key for keys, _ in groups for key in keys})
    fields = sorted({field for _, fields in groups for field in fields})
    row = st.dictionaries(st.sampled_from(fields or [b"f"]), st.binary(max_size=40))
    fill(server, {key: data.draw(row) for key in keys})
    with transport_to(server.address) as transport, server.client() as client:
        expected = [[client.hmget(key, *fields) for key in keys] for keys, fields in groups]
        assert transport.read([ReadGroup(*group) for group in groups]) == expected


@given(groups=GROUPS)
def test_packed_reads_are_the_commands_of_hiredis(
    groups: list[tuple[list[bytes], list[bytes]]],
) -> None:
    for keys, fields in groups:
        expected = [resp.pack_command("HMGET", key, *fields) for key in keys]
        assert resp.pack_hash_reads(keys, fields) == b"".join(expected)
        commands = resp.split_commands(resp.pack_hash_reads(keys, fields))
        assert commands == [[b"HMGET", key, *fields] for key in keys]


def test_the_packing_oracle_can_fail() -> None:
    """A planted bug: the length of the first key is taken for the length of all keys."""
    keys, fields = [b"a", b"bc"], [b"f"]
    head, tail = b"*3\r\n$5\r\nHMGET\r\n$1\r\n", b"\r\n$1\r\nf\r\n"
    planted = head + (tail + head).join(keys) + tail
    assert planted != resp.pack_hash_reads(keys, fields)


@given(sizes=st.lists(st.integers(0, 300), max_size=30), limit=st.integers(1, 500))
def test_batches_hold_all_commands_in_order(sizes: list[int], limit: int) -> None:
    commands = [("SET", f"k{i}", b"v" * size) for i, size in enumerate(sizes)]
    batches = list(resp.pack_batches(commands, limit))
    assert b"".join(packed for packed, _ in batches) == b"".join(
        resp.pack_command(*command) for command in commands
    )
    assert [len(resp.split_commands(packed)) for packed, _ in batches] == [n for _, n in batches]
    assert all(len(packed) < limit + 400 for packed, _ in batches)


def test_writes_reply_in_order_over_many_batches(server: RedisProcess) -> None:
    with transport_to(server.address) as transport:
        commands: list[Sequence[resp.Argument]] = [
            ("HSET", f"row{i}", b"f", b"%d" % i + b"." * 2000) for i in range(2000)
        ]
        commands += [("HGET", f"row{i}", b"f") for i in range(2000)]
        replies = transport.write(commands)
        assert replies[2000:] == [b"%d" % i + b"." * 2000 for i in range(2000)]
        assert transport.write([]) == []


def test_a_script_that_the_server_forgot_is_loaded_again(server: RedisProcess) -> None:
    with transport_to(server.address) as transport, server.client() as client:
        calls = [("EVALSHA", SHA, 1, b"key%d" % i, b"f", b"%d" % i) for i in range(5)]
        with pytest.raises(StoreUnavailableError, match=r"NOSCRIPT.*with the source"):
            transport.write(calls)
        for _ in range(2):
            assert transport.write(calls, scripts=[SCRIPT]) == [b"%d" % i for i in range(5)]
            client.script_flush()
        with pytest.raises(StoreUnavailableError, match="compiling script"):
            transport.write(calls, scripts=["this is no Lua"])


def test_an_error_that_redis_replies_is_named_and_the_connection_kept(server: RedisProcess) -> None:
    fill(server, {b"row": {b"f": b"v"}})
    with transport_to(server.address) as transport, server.client() as client:
        client.set("text", "no hash")
        transport.read([ReadGroup([b"row"], [b"f"])])
        n_connections = client.info("clients")["connected_clients"]
        with pytest.raises(StoreUnavailableError, match=r"WRONGTYPE.*another database") as raised:
            transport.read([ReadGroup([b"row", b"text", b"row"], [b"f"])])
        assert server.address in str(raised.value)
        with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
            transport.write([("HSET", "row", "f", "w"), ("HSET", "text", "f", "w")])
        assert transport.read([ReadGroup([b"row"], [b"f"])]) == [[[b"w"]]]
        assert client.info("clients")["connected_clients"] == n_connections + 1  # the writer's


def test_wrong_or_absent_password_is_named_and_never_printed(tmp_path: Path) -> None:
    group = [ReadGroup([b"row"], [b"f"])]
    with redis_process(tmp_path, f"requirepass {PASSWORD}") as server:
        with transport_to(f"{server.address},password={PASSWORD},db=3") as transport:
            transport.write([("HSET", "row", "f", "of database 3")])
            with pytest.raises(StoreUnavailableError, match=r"unknown command `\*\*\*`"):
                transport.write([(PASSWORD, "row")])
            assert transport.read(group) == [[[b"of database 3"]]]
        with server.client(password=PASSWORD, db=3, decode_responses=True) as client:
            assert client.hget("row", "f") == "of database 3"
        with transport_to(f"{server.address},password=wrong-{PASSWORD}") as transport:
            for call in (lambda: transport.read(group), lambda: transport.write([("PING",)])):
                with pytest.raises(StoreUnavailableError, match=r"WRONGPASS.*password") as raised:
                    call()
                assert PASSWORD not in str(raised.value)
        with (
            transport_to(server.address) as transport,
            pytest.raises(StoreUnavailableError, match=r"NOAUTH.*Set the password"),
        ):
            transport.read(group)


def test_user_and_password_log_in(server: RedisProcess) -> None:
    with server.client() as client:
        client.acl_setuser(
            "ann", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@read"]
        )
    with transport_to(f"{server.address},username=ann,password={PASSWORD}") as transport:
        assert transport.read([ReadGroup([b"absent"], [b"f"])]) == [[[None]]]
        with pytest.raises(StoreUnavailableError, match=r"NOPERM.*Grant"):
            transport.write([("HSET", "row", "f", "v")])


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("localhost", "without host:port"),
        (f"{HOST}:1,no_such_option=1", "no_such_option"),
        (f"{HOST}:notaport", "invalid literal"),
    ],
)
def test_bad_connection_string_is_named(address: str, message: str) -> None:
    with (
        transport_to(address) as transport,
        pytest.raises(StoreUnavailableError, match=rf"{message}.*[Cc]orrect connection_string"),
    ):
        transport.read([ReadGroup([b"row"], [b"f"])])


def test_timeouts_of_the_connection_string_replace_the_settings() -> None:
    string = f"{HOST}:1,socket_timeout=0.5,socket_connect_timeout=0.25,max_connections=3"
    options = MatrixRedisOnlineStoreConfig(connection_string=string, deadline_ms=9)
    expected = {"read_timeout_ms": 500, "connect_timeout_ms": 250, "max_connections": 3}
    assert options.resolved() == options.model_copy(update=expected)


def test_many_threads_share_one_transport(server: RedisProcess) -> None:
    fill(server, {b"row%d" % i: {b"f": b"%d" % i} for i in range(50)})
    with transport_to(server.address, max_connections=3) as transport:

        def read_often(seed: int) -> None:
            for n in range(20):
                chosen = [(seed * 7 + n * 3 + i) % 50 for i in range(9)]
                group = ReadGroup([b"row%d" % i for i in chosen], [b"f", b"g"])
                assert transport.read([group]) == [[[b"%d" % i, None] for i in chosen]]

        run_threads([partial(read_often, seed) for seed in range(30)])
        with server.client() as client:
            assert client.info("clients")["connected_clients"] <= 4


def test_a_forked_child_and_its_parent_read_at_once(server: RedisProcess) -> None:
    fill(server, {b"row%d" % i: {b"f": b"%d" % i * 500} for i in range(200)})
    keys = [b"row%d" % i for i in range(200)]
    expected = [[[b"%d" % i * 500] for i in range(200)]]
    with transport_to(server.address) as transport:
        assert transport.read([ReadGroup(keys, [b"f"])]) == expected
        child = os.fork()
        if child == 0:  # leaves without the clean-up of pytest
            is_right = False
            try:
                is_right = all(
                    transport.read([ReadGroup(keys, [b"f"])]) == expected for _ in range(30)
                )
            finally:
                os._exit(0 if is_right else 1)
        for _ in range(30):
            assert transport.read([ReadGroup(keys, [b"f"])]) == expected
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_closed_transport_opens_again(server: RedisProcess) -> None:
    fill(server, {b"row": {b"f": b"v"}})
    with transport_to(server.address) as transport, server.client() as client:
        for _ in range(2):
            assert transport.read([ReadGroup([b"row"], [b"f"])]) == [[[b"v"]]]
            transport.close()
        with transport._readers.lend(time.monotonic() + 9) as (lent, _):
            transport.close()
            assert lent.exchange(resp.pack_command("PING"), 1, 9, time.monotonic() + 9) == [b"PONG"]
        assert not lent.is_open
        wait_until(lambda: client.info("clients")["connected_clients"] == 1, "all closed")


def test_tls(server: RedisProcess, tmp_path: Path) -> None:
    fill(server, {b"row%d" % i: {b"f": os.urandom(1500)} for i in range(300)})
    pem = make_certificate(tmp_path / "localhost.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    group = ReadGroup([b"row%d" % i for i in range(300)], [b"f"])
    with proxy(server.port, context) as tls, transport_to(server.address) as plain:
        options = f"ssl=true,ssl_ca_certs={pem}"
        with transport_to(f"localhost:{tls.port},{options}") as transport:
            for _ in range(5):
                assert transport.read([group]) == plain.read([group])
            transport.write([("HSET", f"row{i}", "f", b"v" * 2000) for i in range(2000)])
            assert transport.read([group]) == [[[b"v" * 2000]] * 300]
        with (
            transport_to(f"localhost:{tls.port},ssl=true") as transport,
            pytest.raises(StoreUnavailableError, match="certificate"),
        ):
            transport.read([group])


def make_certificate(path: Path) -> Path:
    """A key and a certificate for localhost in one file, made by the openssl of the machine."""
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=localhost", "-addext", names, "-days", "2"]
    command += ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text(), encoding="ascii")
    return path


def test_a_peer_that_reads_on_only_when_its_replies_are_taken(server: RedisProcess) -> None:
    """What a small proxy does; sending everything before reading would never end."""
    # Both ways more than the kernel buffers.
    fill(server, {b"row": {b"f" * 1000: b"v" * 2000}})
    group = ReadGroup([b"row"] * 12_000, [b"f" * 1000])
    with (
        one_way_at_a_time(server.port) as port,
        transport_to(f"{HOST}:{port}", read_timeout_ms=2000) as transport,
    ):
        replies = transport.read([group])[0]
        assert len(replies) == 12_000
        assert all(reply == [b"v" * 2000] for reply in replies)


@contextmanager
def one_way_at_a_time(target: int) -> Iterator[int]:
    """Port of a relay of one connection that is a single thread with blocking sends."""
    listener = socket.create_server((HOST, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)

    def relay() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection((HOST, target)) as upstream:
            for sock in (client, upstream):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
            while True:
                readable, _, _ = select.select([client, upstream], [], [])
                for source in readable:
                    data = source.recv(32_768)
                    if not data:
                        return
                    (upstream if source is client else client).sendall(data)

    thread = threading.Thread(target=relay, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(10)


def test_sentinel_names_the_primary(server: RedisProcess, tmp_path: Path) -> None:
    fill(server, {b"row": {b"f": b"v"}})
    monitor = f"sentinel monitor fusion {HOST} {server.port} 1"
    with redis_process(tmp_path, monitor, is_sentinel=True) as sentinel:
        kind = {"redis_type": RedisType.redis_sentinel}
        with transport_to(sentinel.address, sentinel_master="fusion", **kind) as transport:
            assert transport.read([ReadGroup([b"row"], [b"f"])]) == [[[b"v"]]]
            write = ("EVALSHA", SHA, 1, b"row", b"f", b"w")
            assert transport.write([write], scripts=[SCRIPT]) == [b"w"]
            assert transport.read([ReadGroup([b"row"], [b"f"])]) == [[[b"w"]]]
        with (
            transport_to(sentinel.address, sentinel_master="unknown", **kind) as transport,
            pytest.raises(StoreUnavailableError, match="No master found for 'unknown'"),
        ):
            transport.read([ReadGroup([b"row"], [b"f"])])


def test_a_primary_that_a_sentinel_names_anew_is_followed(
    server: RedisProcess, tmp_path: Path
) -> None:
    fill(server, {b"row": {b"f": b"old"}})
    monitor = f"sentinel monitor fusion {HOST} {server.port} 1"
    with (
        redis_process(tmp_path / "new") as promoted,
        redis_process(tmp_path / "sentinel", monitor, is_sentinel=True) as sentinel,
        sentinel.client() as client,
        transport_to(
            sentinel.address, sentinel_master="fusion", redis_type=RedisType.redis_sentinel
        ) as transport,
    ):
        fill(promoted, {b"row": {b"f": b"new"}})
        group = [ReadGroup([b"row"], [b"f"])]
        assert transport.read(group) == [[[b"old"]]]
        client.sentinel_remove("fusion")
        client.sentinel_monitor("fusion", HOST, promoted.port, 1)
        with (
            transport._readers.lend(time.monotonic() + 9),
            transport._readers.lend(time.monotonic() + 9),
        ):
            pass  # the second one is a new connection, for which the sentinel is asked
        assert transport.read(group) == [[[b"new"]]]


def test_cluster_sends_every_command_to_the_server_of_its_key(
    cluster: list[RedisProcess],
) -> None:
    keys = [b"row%d" % i for i in range(200)]
    with cluster_transport(cluster) as transport:
        calls = [("EVALSHA", SHA, 1, key, b"f", key) for key in keys]
        assert transport.write(calls, scripts=[SCRIPT]) == keys
        assert transport.read([ReadGroup(keys, [b"f", b"g"]), ReadGroup([b"no"], [b"f"])]) == [
            [[key, None] for key in keys],
            [[None]],
        ]
        for node in cluster:
            with node.client() as client:
                assert 50 < client.dbsize() < 150
                client.script_flush()
        with pytest.raises(StoreUnavailableError, match="NOSCRIPT"):
            transport.write(calls)
        assert transport.write(calls, scripts=[SCRIPT]) == keys


def test_cluster_follows_a_slot_that_moves(cluster: list[RedisProcess]) -> None:
    source, sink = cluster
    with cluster_transport(cluster) as transport, source.client() as old, sink.client() as new:
        pair = [b"{%d}%s" % (i, suffix) for i in range(50) for suffix in (b"a", b"b")]
        transport.write([("HSET", key, b"f", key) for key in pair])
        expected = [[[key] for key in pair]]
        stays = [key for key in pair if _has(old, key)]
        slot = old.execute_command("CLUSTER KEYSLOT", stays[0])
        ids = {c: c.execute_command("CLUSTER MYID").decode() for c in (old, new)}
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[old])
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[new])
        old.execute_command("MIGRATE", HOST, sink.port, stays[0], 0, 5000)
        assert transport.read([ReadGroup(pair, [b"f"])]) == expected  # ASK for one key of the two
        old.execute_command("MIGRATE", HOST, sink.port, stays[1], 0, 5000)
        for client in (new, old):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[new])
        for _ in range(2):
            assert transport.read([ReadGroup(pair, [b"f"])]) == expected  # MOVED for both


def test_cluster_whose_primary_died_is_looked_up_anew(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, 2) as nodes, cluster_transport(nodes) as transport:
        group = [ReadGroup([b"row%d" % i for i in range(20)], [b"f"])]
        expected = [[[None]] * 20]
        assert transport.read(group) == expected
        with nodes[1].client() as client:
            heir = client.execute_command("CLUSTER MYID")
            pipeline = client.pipeline(transaction=False)
            for slot in range(8192):
                pipeline.execute_command("CLUSTER SETSLOT", slot, "NODE", heir)
            pipeline.execute()
        nodes[0].stop()

        def reads() -> bool:
            try:
                return transport.read(group) == expected
            except StoreUnavailableError:
                return False

        wait_until(reads, "the slots at their new server")


@contextmanager
def cluster_transport(nodes: list[RedisProcess]) -> Iterator[Transport]:
    addresses = ",".join(node.address for node in nodes)
    with transport_to(addresses, redis_type=RedisType.redis_cluster) as transport:
        yield transport


def _has(client: Any, key: bytes) -> bool:
    try:
        return bool(client.exists(key))
    except Exception as error:
        assert "MOVED" in type(error).__name__.upper()
        return False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(3, 0.5, on_open=lambda: None, clock=clock)


def admitted(breaker: CircuitBreaker) -> int:
    permit = breaker.admit()
    assert permit is not None
    return permit


def trip(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        breaker.fail(admitted(breaker))


def test_breaker_opens_after_failures_in_a_row_only(breaker: CircuitBreaker) -> None:
    for _ in range(5):
        breaker.fail(admitted(breaker))
        breaker.fail(admitted(breaker))
        breaker.succeed(admitted(breaker))
    trip(breaker)
    assert breaker.is_open
    assert breaker.admit() is None


def test_breaker_lets_one_caller_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now = 0.5
    probe = admitted(breaker)
    assert breaker.admit() is None
    breaker.abandon(probe)
    probe = admitted(breaker)
    breaker.fail(probe)
    assert breaker.admit() is None
    clock.now = 1.0
    breaker.succeed(admitted(breaker))
    assert not breaker.is_open
    assert admitted(breaker) == admitted(breaker)


def test_breaker_ignores_news_from_before_it_changed(breaker: CircuitBreaker, clock: Clock) -> None:
    old = admitted(breaker)
    trip(breaker)
    clock.now = 0.5
    probe = admitted(breaker)
    breaker.succeed(old)
    breaker.fail(old)
    breaker.abandon(old)
    assert breaker.admit() is None
    breaker.succeed(probe)
    breaker.fail(old)
    breaker.fail(probe)
    trip(breaker)
    assert breaker.is_open


def test_breaker_tells_when_it_opens(clock: Clock) -> None:
    opened: list[float] = []
    breaker = CircuitBreaker(1, 0.5, on_open=lambda: opened.append(clock.now), clock=clock)
    breaker.fail(admitted(breaker))
    clock.now = 0.7
    breaker.fail(admitted(breaker))
    assert opened == [0.0, 0.7]


def test_error_replies_are_seen_among_many() -> None:
    errors = map(_HiredisParser.parse_error, ("OOM first", "WRONGTYPE second"))
    replies = [b"a", None, *errors]
    assert resp.first_error(replies) == "OOM first"
    assert resp.first_error(replies[3:]) == "WRONGTYPE second"
    assert resp.first_error(replies[:2]) == ""
