"""What is wrong in a row or a request is said by name, and does not touch the others."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient
from feast import Entity, FeatureService, FeatureStore, Field, FileSource, PushSource, ValueType
from feast.feature_server import get_app
from feast.infra.online_stores.redis import _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64

from cli.redis_process import RunningRedis
from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from feast_fusion.online.refusals import RefusedRequestError, RefusedRowsError
from feast_fusion.redis_matrix import read_online
from tests.feast_fusion.online.online_repo import NOW, Pair, online, open_pair, view_of, write
from tests.feast_fusion.online.redis_faults import open_redis

ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
SHOP = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64)
PRICES = view_of("prices", [ITEM], {"item_id": Int64}, [Field(name="cents", dtype=Int64)])
STOCK = view_of(
    "stock", [ITEM, SHOP], {"item_id": Int64, "shop_id": Int64}, [Field(name="n", dtype=Int64)]
)


@pytest.fixture
def pair(server: RunningRedis, tmp_path: Path) -> Iterator[Pair]:
    opened = open_pair(tmp_path, server)
    opened.apply(ITEM, SHOP, PRICES, STOCK)
    yield opened
    opened.ours.teardown()
    opened.close()


def price(item: int, cents: int) -> Any:
    return {"item_id": item}, {"cents": cents}, NOW, None


def damage(pair: Pair, server: RunningRedis, item: int, stamp: bytes) -> None:
    """Give a stored row another event timestamp, as a faulty writer would."""
    entity = EntityKey(join_keys=["item_id"], entity_values=[Value(int64_val=item)])
    with redis.Redis.from_url(server.url) as client:
        client.hset(_redis_key(pair.ours.project, entity), "_ts:prices", stamp)


@pytest.mark.parametrize("stamp", [b"no time", b"\x08", b"\x08" + b"\x80" * 9 + b"\x01"])
def test_a_stored_row_without_a_time_is_absent_and_said(
    pair: Pair, server: RunningRedis, stamp: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(pair.ours, PRICES, [price(1, 10), price(2, 20)])
    damage(pair, server, 2, stamp)
    with caplog.at_level(logging.WARNING):
        answer = pair.ours.get_online_features(
            ["prices:cents"], [{"item_id": item} for item in (1, 2, 3)]
        )
    assert answer.to_dict()["cents"] == [10, None, None]
    assert "view prices: 1 rows have no readable event timestamp" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        found = read_online(pair.ours, ["prices:cents"], {"item_id": [1, 2, 3]})
    assert found.present["prices"].tolist() == [True, False, False]
    assert "view prices: 1 rows have no readable event timestamp" in caplog.text


def test_rows_without_a_time_or_a_key_are_refused_whole(pair: Pair) -> None:
    rows = [price(1, 10), ({"item_id": 2}, {"cents": 20}, None, None)]
    with pytest.raises(RefusedRowsError, match="'prices', column 'at', row 1: got null"):
        write(pair.ours, PRICES, rows)
    assert not read_online(pair.ours, ["prices:cents"], {"item_id": [1]}).present["prices"].any()
    key = EntityKey(join_keys=["item_id"], entity_values=[Value()])
    with pytest.raises(RefusedRowsError, match="'prices', column 'item_id', row 0: got null"):
        online(pair.ours).online_write_batch(
            pair.ours.config, PRICES, [(key, {"cents": Value(int64_val=1)}, NOW, None)], None
        )


def test_a_request_without_one_of_two_keys_is_refused(pair: Pair) -> None:
    with pytest.raises(RefusedRequestError, match=r"expected also \['shop_id'\].*'stock'"):
        pair.ours.get_online_features(["stock:n"], [{"item_id": 1}])
    with pytest.raises(SchemaError, match="the same columns in every row"):
        pair.ours.get_online_features(["stock:n"], [{"item_id": 1}, {"shop_id": 1}])


def test_a_view_in_two_roles_has_a_name_for_each(pair: Pair) -> None:
    other = PRICES.with_name("others").with_join_key_map({"item_id": "other_id"})
    pair.apply(ITEM, PRICES, FeatureService(name="roles", features=[PRICES, other]))
    service = pair.ours.get_feature_service("roles")
    with pytest.raises(FeatureNotFoundError, match="'roles': got the view 'prices' twice"):
        pair.ours.get_online_features(service, [{"item_id": 1, "other_id": 2}])
    with pytest.raises(FeatureNotFoundError, match="'roles': got the view 'prices' twice"):
        read_online(pair.ours, service, {"item_id": [1], "other_id": [2]})


def test_a_pushed_row_without_a_time_is_answered_with_422(
    server: RunningRedis, tmp_path: Path
) -> None:
    pair = open_pair(tmp_path, server)
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="at")
    pushed = view_of("pushed", [ITEM], {"item_id": Int64}, [Field(name="cents", dtype=Int64)])
    pushed.batch_source, pushed.stream_source = source, PushSource(name="live", batch_source=source)
    pair.apply(ITEM, pushed)
    with TestClient(get_app(pair.ours), raise_server_exceptions=False) as client:
        answer = client.post("/push", json=push_body([NOW.isoformat(), None]))
        assert answer.status_code == 422, answer.text
        assert "column 'at', row 1: got null" in answer.text
        assert stored(pair.ours) == [None, None]
        answer = client.post("/push", json=push_body([NOW.isoformat(), NOW.isoformat()]))
        assert answer.status_code == 200, answer.text
    assert stored(pair.ours) == [10, 20]
    pair.close()


def push_body(times: list[str | None]) -> dict[str, Any]:
    rows = {"item_id": [1, 2], "cents": [10, 20], "at": times}
    return {"push_source_name": "live", "df": rows, "to": "online"}


def stored(store: FeatureStore) -> list[int | None]:
    answer = store.get_online_features(["pushed:cents"], [{"item_id": 1}, {"item_id": 2}])
    found: list[int | None] = answer.to_dict()["cents"]
    return found


CALLS: dict[str, Callable[[FeatureStore], object]] = {
    "read_online": lambda store: read_online(store, ["prices:cents"], {"item_id": [1]}),
    "get_online_features": lambda store: store.get_online_features(
        ["prices:cents"], [{"item_id": 1}]
    ),
    "a short write": lambda store: write(store, PRICES, [price(1, 10)]),
    "a long write": lambda store: write(store, PRICES, [price(i, i) for i in range(2_000)]),
    "delete_table": lambda store: online(store).delete_table(store.config, PRICES),
    "teardown": lambda store: store.teardown(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("password", ["", ",password=hunter3"])
def test_a_missing_or_wrong_password_is_named_alike_by_every_call(
    locked: RunningRedis, tmp_path: Path, call: str, password: str
) -> None:
    address = f"{locked.host}:{locked.port}{password}"
    pair = open_pair(tmp_path, locked, connection_string=address)
    pair.apply(ITEM, PRICES)
    code, remedy = (
        ("WRONGPASS", "Correct username and password in connection_string")
        if password
        else ("NOAUTH Authentication required", "Set the password in connection_string")
    )
    with pytest.raises(StoreUnavailableError, match=f"got the answer '{code}.*{remedy}"):
        CALLS[call](pair.ours)
    pair.close()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRedis]:
    """A Redis that asks for a password."""
    with open_redis(tmp_path_factory.mktemp("locked")) as running:
        with redis.Redis(running.host, running.port) as client:
            client.config_set("requirepass", "hunter2")
        yield running
        with redis.Redis(running.host, running.port, password="hunter2") as client:
            client.config_set("requirepass", "")
