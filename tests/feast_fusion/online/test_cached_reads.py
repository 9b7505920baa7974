"""The item cache behind `read_online`: fewer reads, never an old row."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from feast import Entity, Field, ValueType
from feast.types import Int64, String
from pydantic import ValidationError

from cli.redis_process import RunningRedis
from feast_fusion.redis_matrix import MatrixRedisOnlineStoreConfig, read_online
from tests.feast_fusion.online.online_repo import NOW, Pair, online, open_pair, view_of, write
from tests.waiting import wait_until

ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
FIELDS = [Field(name="version", dtype=Int64), Field(name="copy", dtype=Int64)]
ITEMS = view_of("items", [ITEM], {"item_id": Int64}, FIELDS)
USERS = view_of(
    "users", [USER], {"user_id": String}, [Field(name="clicks", dtype=Int64)], ttl=timedelta(days=1)
)
N_ITEMS = 20


@pytest.fixture
def pair(server: RunningRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    folder = tmp_path_factory.mktemp("repo")
    pair = open_pair(folder, server, cache_mb=8, cache_join_keys=["item_id"])
    pair.apply(ITEM, USER, ITEMS, USERS)
    read(pair)
    assert cache(pair).wait_until_open(20)
    yield pair
    pair.close()


def cache(pair: Pair):  # type: ignore[no-untyped-def]
    found = online(pair.ours).cached_reads(pair.ours.config)
    assert found is not None
    return found


def set_version(pair: Pair, version: int) -> None:
    at = NOW + timedelta(microseconds=version)
    rows = [
        ({"item_id": i}, {"version": version, "copy": version}, at, None) for i in range(N_ITEMS)
    ]
    write(pair.stock, ITEMS, rows)


def read(pair: Pair) -> list[int]:
    found = read_online(pair.ours, ["items:version", "items:copy"], {"item_id": range(N_ITEMS)})
    versions = found.columns["version"].tolist()  # type: ignore[union-attr]
    assert versions == found.columns["copy"].tolist()  # type: ignore[union-attr]
    return list(versions)


def calls(server: RunningRedis) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"])


def until(pair: Pair, version: int) -> None:
    wait_until(lambda: read(pair) == [version] * N_ITEMS, "the change to arrive")


def test_a_warm_read_asks_redis_for_users_only(pair: Pair, server: RunningRedis) -> None:
    set_version(pair, 1)
    write(pair.stock, USERS, [({"user_id": "u"}, {"clicks": 3}, NOW, None)])
    until(pair, 1)

    def is_kept() -> bool:  # a reply that an invalidation overtook is not kept
        before = calls(server)
        assert read(pair) == [1] * N_ITEMS
        return calls(server) == before

    wait_until(is_kept, "a read without Redis")
    found = read_online(
        pair.ours,
        ["items:version", "users:clicks"],
        {"item_id": range(N_ITEMS), "user_id": ["u"] * N_ITEMS},
    )
    assert found.columns["clicks"].tolist() == [3] * N_ITEMS  # type: ignore[union-attr]
    assert cache(pair).stats.hits >= N_ITEMS


def test_readers_see_a_change_and_never_go_back(pair: Pair) -> None:
    set_version(pair, 1)
    stop = threading.Event()
    went_back: list[list[int]] = []

    def watch() -> None:
        last = [0] * N_ITEMS
        while not stop.is_set():
            now = read(pair)
            if any(new < old for new, old in zip(now, last, strict=True)):
                went_back.append(now)
            last = now

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(2, 30):
        set_version(pair, version)
    until(pair, 29)  # from here on every reader
    assert all(read(pair) == [29] * N_ITEMS for _ in range(50))
    stop.set()
    for thread in threads:
        thread.join()
    assert not went_back


def test_a_lost_connection_drops_the_cache_and_it_comes_back(
    pair: Pair, server: RunningRedis
) -> None:
    set_version(pair, 1)
    until(pair, 1)
    drops = cache(pair).stats.drops
    with redis.Redis.from_url(server.url) as client:
        for each in client.client_list():
            if "t" in each["flags"] or each["flags"] == "B":
                client.client_kill_filter(_id=each["id"])
    set_version(pair, 2)
    until(pair, 2)
    wait_until(lambda: cache(pair).stats.drops > drops, "the drop")
    assert cache(pair).wait_until_open(20)
    set_version(pair, 3)
    until(pair, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cache_mb": 8}, "cache_join_keys"),
        ({"cache_join_keys": ["item_id"]}, "cache_mb"),
        (
            {"cache_mb": 8, "cache_join_keys": ["item_id"], "redis_type": "redis_cluster"},
            "cluster",
        ),
        ({"read_timeout_ms": 0}, "read_timeout_ms"),
        ({"vector_encoding": "int4"}, "vector_encoding"),
        ({"cache_size": 8}, "cache_size"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        MatrixRedisOnlineStoreConfig.model_validate(options)
