"""The online store in a repository of its own: real commands, views that are not ours."""

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from feast_fusion.redis_matrix import online_store_of, read_online
from tests.feast_fusion.feast_repo import FEAST, FeastRepo, day, make_repo, page
from tests.feast_fusion.online.redis_faults import open_redis
from tests.waiting import wait_until

OURS = "feast_fusion.redis_matrix.MatrixRedisOnlineStore"


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[FeastRepo]:
    with open_redis(tmp_path / "redis") as server:
        options = {
            "type": OURS,
            "connection_string": server.connection,
            "connect_timeout_ms": 5_000,
            "read_timeout_ms": 5_000,
            "deadline_ms": 20_000,
        }
        yield make_repo(tmp_path / "repo", online_store=json.dumps(options))


def test_apply_materialize_serve_and_read(repo: FeastRepo) -> None:
    repo.write_pages([page(f"p{i}", i, i) for i in range(25)])
    repo.here("apply")
    repo.here("materialize", day(-1), day(30))
    assert repo.online(["p0", "p24", "absent"]) == [0.0, 24.0, None]
    store = repo.store
    found = read_online(
        store, ["page_vector:emb", "page_vector:label"], {"page_id": ["p3", "absent"]}
    )
    assert found.columns["emb"][0].tolist() == [3.0, 1.0, 2.0, 3.0]  # type: ignore[union-attr]
    assert found.present["page_vector"].tolist() == [True, False]
    # A corrected page of the same event time, created later, replaces the vector online.
    repo.write_pages([page("p3", 3, 333, created=5)])
    repo.here("materialize", day(-1), day(30))
    assert repo.online(["p3"]) == [333.0]
    online_store_of(store).disconnect()
    with served(repo) as url:
        answer = ask(url, {"features": ["page_vector:emb"], "entities": {"page_id": ["p3", "x"]}})
    assert answer["results"][1]["values"][0] == [333.0, 1.0, 2.0, 3.0]
    assert answer["results"][1]["statuses"] == ["PRESENT", "NOT_FOUND"]


def test_a_redis_without_room_fails_the_command_and_a_rerun_completes(repo: FeastRepo) -> None:
    repo.write_pages([page(f"p{i:04}", i, i) for i in range(2_000)])
    repo.store_apply()
    address = repo.store.config.online_store.connection_string.split(",")[0]
    with redis.Redis.from_url(f"redis://{address}") as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
        failed = repo.here("materialize", day(-1), day(3000), fails=True)
        assert "OOM" in failed.stdout + failed.stderr
        assert repo.watermark() is None
        n_written = client.dbsize()
        assert n_written < 2_000
        client.config_set("maxmemory", 0)
        repo.here("materialize", day(-1), day(3000))
        assert client.dbsize() == 2_000
    assert repo.online(["p0000", "p1999"]) == [0.0, 1999.0]


@contextmanager
def served(repo: FeastRepo) -> Iterator[str]:
    """`feast serve` on a free port, until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*FEAST, "serve", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    log_file = repo.folder / "serve.log"
    with log_file.open("w") as log:
        server = subprocess.Popen(
            command, cwd=repo.folder, env=repo.environment(), stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_healthy(server, url, log_file), "the feature server", 600)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def is_healthy(server: subprocess.Popen[bytes], url: str, log_file: Path) -> bool:
    assert server.poll() is None, log_file.read_text()
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except OSError:
        return False
    return True


def ask(url: str, body: dict[str, object]) -> dict[str, list[dict[str, list[object]]]]:
    request = urllib.request.Request(
        f"{url}/get-online-features",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, list[dict[str, list[object]]]] = json.load(answer)
    return found
