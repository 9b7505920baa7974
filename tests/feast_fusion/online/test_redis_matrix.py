import inspect
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, ValueType
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.on_demand_feature_view import on_demand_feature_view
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Array, Float32, Float64, Int64, String, from_value_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.redis_process import RunningRedis
from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from feast_fusion.online.redis.connected_store import ConnectedRedisStore
from feast_fusion.redis_matrix import MatrixRedisOnlineStore, Ragged, read_online
from tests.feast_fusion.online.online_repo import NOW, Pair, online, open_pair, view_of, write
from tests.feast_fusion.online.value_types import INT64, TYPES, VALUES, same

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
EVERYTHING = view_of(
    "everything",
    [USER, ITEM],
    {"user_id": String, "item_id": Int64},
    [Field(name=name.lower(), dtype=from_value_type(ValueType[name])) for name in TYPES],
)
REFERENCES = [f"everything:{name.lower()}" for name in TYPES]
WIDTH = 8
VECTORS = view_of(
    "vectors",
    [ITEM],
    {"item_id": Int64},
    [
        Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=WIDTH),
        Field(name="price", dtype=Float64),
        Field(name="tags", dtype=Array(String)),
    ],
)
PRICES = view_of("prices", [ITEM], {"item_id": Int64}, [Field(name="cents", dtype=Int64)])
FRESH = view_of(
    "fresh",
    [USER],
    {"user_id": String},
    [Field(name="clicks", dtype=Int64), Field(name="name", dtype=String)],
    ttl=timedelta(hours=1),
)
TOTALS = view_of("totals", [], {}, [Field(name="n_users", dtype=Int64)])


@on_demand_feature_view(
    sources=[
        VECTORS[["price"]],
        RequestSource(name="rate", schema=[Field(name="rate", dtype=Float64)]),
    ],
    schema=[Field(name="converted", dtype=Float64)],
    mode="python",
)
def converted_price(inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "converted": [
            None if price is None else price * rate
            for price, rate in zip(inputs["price"], inputs["rate"])  # noqa: B905 - Feast runs it
        ]
    }


@pytest.fixture(scope="module")
def applied(server: RunningRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    pair = open_pair(tmp_path_factory.mktemp("repo"), server)
    pair.apply(USER, ITEM, EVERYTHING, VECTORS, PRICES, FRESH, TOTALS, converted_price)
    yield pair
    pair.close()


@pytest.fixture
def pair(applied: Pair, server: RunningRedis) -> Pair:
    empty(server)
    return applied


def empty(server: RunningRedis) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


KEYS = st.tuples(st.text(min_size=1, max_size=8), INT64)
ROWS = st.dictionaries(
    KEYS, st.fixed_dictionaries({n.lower(): st.none() | VALUES[n] for n in TYPES}), max_size=4
)


@pytest.mark.parametrize("writer", ["stock", "ours"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, absent=KEYS)
def test_either_store_reads_what_the_other_wrote(
    writer: str, pair: Pair, server: RunningRedis, rows: Any, absent: Any
) -> None:
    empty(server)
    written = [
        ({"user_id": user, "item_id": item}, features, NOW, None)
        for (user, item), features in rows.items()
    ]
    write(getattr(pair, writer), EVERYTHING, written)
    asked = [*rows, absent, *rows]
    entity_rows = [{"user_id": user, "item_id": item} for user, item in asked]
    expected = pair.stock.get_online_features(REFERENCES, entity_rows).to_dict()
    found = pair.ours.get_online_features(REFERENCES, entity_rows).to_dict()
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert same(found[name], values), name
    columns = read_online(
        pair.ours,
        REFERENCES,
        {"user_id": [u for u, _ in asked], "item_id": np.array([i for _, i in asked])},
    )
    for name in map(str.lower, TYPES):
        assert columns.valid[name].tolist() == [value is not None for value in expected[name]], name
    assert columns.present["everything"].tolist() == [row in rows for row in asked]


def test_columns_of_several_views_from_one_round_trip(pair: Pair, server: RunningRedis) -> None:
    vector = np.arange(WIDTH, dtype=np.float32)
    write(
        pair.ours,
        VECTORS,
        [
            ({"item_id": 1}, {"emb": vector, "price": 2.5, "tags": ["a", "ü"]}, NOW, None),
            ({"item_id": 2}, {"emb": None, "price": None, "tags": []}, NOW, None),
        ],
    )
    write(pair.ours, PRICES, [({"item_id": 2}, {"cents": 7}, NOW, None)])
    with redis.Redis.from_url(server.url) as client:
        before = client.info("commandstats")["cmdstat_hmget"]["calls"]
        found = read_online(
            pair.ours,
            ["vectors:emb", "vectors:price", "vectors:tags", "prices:cents"],
            {"item_id": [1, 2, 3, 1]},
            full_feature_names=True,
        )
        assert client.info("commandstats")["cmdstat_hmget"]["calls"] - before == 3
    emb = found.columns["vectors__emb"]
    assert isinstance(emb, np.ndarray) and emb.dtype == np.float32
    np.testing.assert_array_equal(emb[[0, 3]], [vector, vector])
    assert np.isnan(emb[[1, 2]]).all()
    assert found.valid["vectors__emb"].tolist() == [True, False, False, True]
    np.testing.assert_array_equal(found.columns["vectors__price"], [2.5, np.nan, np.nan, 2.5])
    tags = found.columns["vectors__tags"]
    assert isinstance(tags, Ragged)
    assert tags.values.tolist() == ["a", "ü", "a", "ü"]
    assert tags.offsets.tolist() == [0, 2, 2, 2, 4]
    np.testing.assert_array_equal(found.columns["prices__cents"], [0, 7, 0, 0])
    assert found.present["vectors"].tolist() == [True, True, False, True]
    assert found.present["prices"].tolist() == [False, True, False, False]
    assert np.isnat(found.event_timestamps["prices"]).tolist() == [True, False, True, True]


def test_expired_and_absent_rows_say_so(pair: Pair) -> None:
    old, new = NOW - timedelta(hours=2), NOW - timedelta(minutes=5)
    write(
        pair.stock,
        FRESH,
        [
            ({"user_id": "old"}, {"clicks": 1, "name": "o"}, old, None),
            ({"user_id": "new"}, {"clicks": 2, "name": None}, new, None),
        ],
    )
    users = ["old", "new", "nobody"]
    response = pair.ours.get_online_features(
        ["fresh:clicks", "fresh:name"], [{"user_id": user} for user in users]
    )
    assert response.to_dict()["clicks"] == [None, 2, None]
    names = list(response.proto.metadata.feature_names.val)
    statuses = response.proto.results[names.index("clicks")].statuses
    assert list(statuses) == [
        FieldStatus.OUTSIDE_MAX_AGE,
        FieldStatus.PRESENT,
        FieldStatus.NOT_FOUND,
    ]
    found = read_online(pair.ours, ["fresh:clicks", "fresh:name"], {"user_id": users})
    assert found.present["fresh"].tolist() == [False, True, False]
    assert found.expired["fresh"].tolist() == [True, False, False]
    assert found.columns["clicks"].tolist() == [0, 2, 0]  # type: ignore[union-attr]
    assert found.event_timestamps["fresh"][:2].tolist() == [
        old.replace(tzinfo=None),
        new.replace(tzinfo=None),
    ]
    ages = found.ages("fresh")
    assert timedelta(hours=2) <= ages[0].item() < timedelta(hours=3)
    assert np.isnat(ages[2])


def test_on_demand_views_are_computed_from_what_is_read(pair: Pair) -> None:
    write(pair.ours, VECTORS, [({"item_id": 1}, {"price": 2.0}, NOW, None)])
    asked = [{"item_id": 1, "rate": 3.0}]
    for store in (pair.stock, pair.ours):
        response = store.get_online_features(["converted_price:converted"], asked)
        assert response.to_dict()["converted"] == [6.0]
    with pytest.raises(FeatureNotFoundError, match=r"on-demand view 'converted_price'.*get_online"):
        read_online(pair.ours, ["converted_price:converted"], {"item_id": [1]})


def test_a_service_an_alias_and_a_view_without_entities(pair: Pair) -> None:
    write(pair.ours, FRESH, [({"user_id": "a"}, {"clicks": 1, "name": "x"}, NOW, None)])
    write(pair.stock, TOTALS, [({"__dummy_id": ""}, {"n_users": 9}, NOW, None)])
    me = FRESH.with_name("me")  # Feast cannot compare a view with an alias of itself
    friend = FRESH.with_name("friend").with_join_key_map({"user_id": "friend_id"})
    service = FeatureService(name="s", features=[me[["clicks"]], friend[["name"]], TOTALS])
    pair.apply(service)
    entity_rows = [{"user_id": "b", "friend_id": "a"}, {"user_id": "a", "friend_id": "b"}]
    for store in (pair.stock, pair.ours):
        found = store.get_online_features(service, entity_rows, full_feature_names=True).to_dict()
        assert found["me__clicks"] == [None, 1]
        assert found["friend__name"] == ["x", None]
        assert found["totals__n_users"] == [9, 9]
    columns = read_online(
        pair.ours,
        service,
        {"user_id": ["b", "a"], "friend_id": ["a", "b"]},
        full_feature_names=True,
    )
    assert columns.columns["me__clicks"].tolist() == [0, 1]  # type: ignore[union-attr]
    assert columns.columns["friend__name"].tolist() == ["x", None]  # type: ignore[union-attr]
    assert columns.columns["totals__n_users"].tolist() == [9, 9]  # type: ignore[union-attr]


def test_reads_through_threads_answer_async_callers(pair: Pair) -> None:
    import asyncio

    write(pair.ours, PRICES, [({"item_id": 1}, {"cents": 7}, NOW, None)])
    response = asyncio.run(pair.ours.get_online_features_async(["prices:cents"], [{"item_id": 1}]))
    assert response.to_dict()["cents"] == [7]


def test_no_rows_are_no_columns_of_no_length(pair: Pair) -> None:
    found = read_online(pair.ours, ["vectors:emb", "vectors:tags"], {"item_id": []})
    assert found.columns["emb"].shape == (0, WIDTH)  # type: ignore[union-attr]
    assert found.present["vectors"].shape == (0,)


@pytest.mark.parametrize(
    ("features", "entities", "error", "says"),
    [
        (["vectors:nothing"], {"item_id": [1]}, FeatureNotFoundError, "nothing"),
        (["nowhere:emb"], {"item_id": [1]}, FeatureNotFoundError, "nowhere"),
        (["vectors:emb"], {"user_id": ["a"]}, FeatureNotFoundError, "user_id.*item_id"),
        (["vectors:emb"], {}, FeatureNotFoundError, "item_id"),
        (["vectors:emb"], {"item_id": ["x"]}, SchemaError, "'item_id', row 0.*'x'.*INT64"),
        (["vectors:emb"], {"item_id": [1, None]}, SchemaError, "'item_id', row 1.*None"),
        (
            ["vectors:emb", "fresh:clicks"],
            {"item_id": [1, 2], "user_id": ["a"]},
            SchemaError,
            "'item_id': 2.*'user_id': 1",
        ),
    ],
)
def test_a_wrong_request_is_named(
    pair: Pair, features: Any, entities: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        read_online(pair.ours, features, entities)


def test_a_store_of_another_type_is_refused(pair: Pair) -> None:
    with pytest.raises(FeatureNotFoundError, match=r"RedisOnlineStore.*MatrixRedisOnlineStore"):
        read_online(pair.stock, ["prices:cents"], {"item_id": [1]})


@pytest.mark.parametrize(
    ("vector", "says"),
    [(np.zeros(WIDTH - 1), f"{WIDTH - 1}.*{WIDTH}"), (np.full(WIDTH, np.nan), "finite")],
)
def test_a_wrong_vector_is_refused_with_its_key(pair: Pair, vector: Any, says: str) -> None:
    good = ({"item_id": 1}, {"emb": np.ones(WIDTH)}, NOW, None)
    with pytest.raises(SchemaError, match=r"vectors.*emb") as refused:
        write(pair.ours, VECTORS, [good, ({"item_id": 77}, {"emb": vector}, NOW, None)])
    assert "77" in str(refused.value)
    found = read_online(pair.ours, ["vectors:emb"], {"item_id": [77]})
    assert not found.present["vectors"].any()


def test_a_deleted_view_leaves_nothing(pair: Pair, server: RunningRedis) -> None:
    write(pair.ours, VECTORS, [({"item_id": 1}, {"price": 1.0}, NOW, NOW)])
    write(pair.ours, PRICES, [({"item_id": 1}, {"cents": 1}, NOW, NOW)])
    online(pair.ours).delete_table(pair.ours.config, VECTORS)
    with redis.Redis.from_url(server.url) as client:
        (key,) = client.keys()
        fields = set(client.hkeys(key))
    assert b"_created:prices" in fields and b"_created:vectors" not in fields
    assert not any(b"vectors" in field for field in fields)
    online(pair.ours).delete_table(pair.ours.config, PRICES)
    with redis.Redis.from_url(server.url) as client:
        assert client.keys() == []


@pytest.mark.parametrize("encoding", ["float32", "float16", "int8"])
def test_a_replacement_of_equal_event_time_takes_effect(
    pair: Pair, server: RunningRedis, tmp_path: Path, encoding: str
) -> None:
    other = open_pair(tmp_path, server, vector_encoding=encoding)
    other.apply(ITEM, VECTORS)
    first, second = np.ones(WIDTH), np.arange(WIDTH) % 2 / 8
    write(other.stock, VECTORS, [({"item_id": 1}, {"emb": first}, NOW, None)])
    write(other.ours, VECTORS, [({"item_id": 1}, {"emb": second}, NOW, NOW)])
    found = read_online(other.ours, ["vectors:emb"], {"item_id": [1]})
    np.testing.assert_array_equal(found.columns["emb"], [second])
    response = other.ours.get_online_features(["vectors:emb"], [{"item_id": 1}])
    np.testing.assert_array_equal(response.to_dict()["emb"], [second])
    other.close()


def test_views_registered_later_are_found(pair: Pair) -> None:
    late = view_of("late", [ITEM], {"item_id": Int64}, [Field(name="n", dtype=Int64)])
    with pytest.raises(FeatureNotFoundError, match="late"):
        read_online(pair.ours, ["late:n"], {"item_id": [1]})
    pair.apply(late)
    assert isinstance(late, FeatureView)
    assert not read_online(pair.ours, ["late:n"], {"item_id": [1]}).present["late"].any()


def test_an_unreachable_host_and_a_wrong_password_are_named(
    server: RunningRedis, tmp_path: Path
) -> None:
    dead = open_pair(tmp_path / "dead", RunningRedis("127.0.0.1", 1, 0))
    dead.apply(ITEM, PRICES)
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1:1: got .*refused, expected"):
        read_online(dead.ours, ["prices:cents"], {"item_id": [1]})
    dead.close()
    address = f"{server.host}:{server.port},password=hunter2"
    locked = open_pair(tmp_path / "locked", server, connection_string=address)
    locked.apply(ITEM, PRICES)
    with pytest.raises(StoreUnavailableError, match=str(server.port)) as refused:
        read_online(locked.ours, ["prices:cents"], {"item_id": [1]})
    assert "hunter2" not in str(refused.value)
    locked.close()


def test_no_name_of_feasts_store_is_taken_for_something_else() -> None:
    """What we redefine is called by Feast as it calls its own: an upgrade that moves it fails."""
    classes = (MatrixRedisOnlineStore, ConnectedRedisStore)
    ours = {name for each in classes for name in vars(each) if not name.startswith("__")}
    redefined = {name for name in ours if hasattr(RedisOnlineStore, name)} - {"_abc_impl"}
    assert redefined == {
        "get_online_features",
        "get_online_features_async",
        "close",
        "delete_entity_values",
        "delete_table",
        "online_read",
        "online_read_async",
        "online_write_batch",
        "online_write_batch_async",
        "retrieve_online_documents_v2",
        "teardown",
        "write_precomputed_vector",
    }
    for name in redefined:
        own, stock = (getattr(store, name) for store in (MatrixRedisOnlineStore, RedisOnlineStore))
        assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(stock), name
        expected = list(inspect.signature(stock).parameters)
        assert list(inspect.signature(own).parameters) in (expected, ["self", "args", "kwargs"])
