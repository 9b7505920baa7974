"""Which stored row gives way to which, when the view has changed since it was written."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from feast import Entity, FeatureView, Field, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Array, FeastType, Float32, Float64, Int64, String

from cli.redis_process import RunningRedis
from feast_fusion.errors import SchemaError
from tests.feast_fusion.online.online_repo import NOW, Pair, online, open_pair, view_of, write

ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
EARLIER, LATER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


@pytest.fixture
def pair(server: RunningRedis, tmp_path: Path) -> Iterator[Pair]:
    opened = open_pair(tmp_path, server)
    yield opened
    opened.ours.teardown()
    opened.close()


def view(**features: FeastType) -> FeatureView:
    fields = [Field(name=name, dtype=dtype) for name, dtype in features.items()]
    return view_of("prices", [ITEM], {"item_id": Int64}, fields)


def put(pair: Pair, of: FeatureView, at: datetime, **values: Any) -> None:
    write(pair.ours, of, [({"item_id": 1}, values, at, None)])


def read(pair: Pair, of: FeatureView) -> dict[str, Any]:
    pair.apply(ITEM, of)
    names = [field.name for field in of.features]
    answer = pair.ours.get_online_features([f"prices:{n}" for n in names], [{"item_id": 1}])
    return {name: answer.to_dict()[name][0] for name in names}


NARROW, WIDE = view(x=Int64), view(x=Int64, y=Int64)


def test_a_feature_that_came_is_filled_by_a_row_of_the_same_age_only(pair: Pair) -> None:
    put(pair, NARROW, NOW, x=1)
    put(pair, WIDE, EARLIER, x=0, y=2)
    assert read(pair, WIDE) == {"x": 1, "y": None}
    put(pair, WIDE, NOW, x=1, y=2)
    assert read(pair, WIDE) == {"x": 1, "y": 2}
    put(pair, WIDE, NOW, x=9, y=9)  # of one age and schema: the first counts
    put(pair, NARROW, NOW, x=9)
    assert read(pair, WIDE) == {"x": 1, "y": 2}


def test_a_null_is_no_feature_that_came(pair: Pair) -> None:
    put(pair, WIDE, NOW, x=1, y=None)
    put(pair, WIDE, NOW, x=1, y=2)
    assert read(pair, WIDE) == {"x": 1, "y": None}


@pytest.mark.parametrize("at", [EARLIER, NOW, LATER])
def test_a_value_that_nobody_can_read_gives_way_to_a_row_of_any_age(
    pair: Pair, at: datetime
) -> None:
    put(pair, view(x=Float64), NOW, x=1.5)
    with pytest.raises(SchemaError, match=r"feature x: got a stored Float64, expected String\."):
        read(pair, view(x=String))
    put(pair, view(x=String), at, x="a")
    assert read(pair, view(x=String)) == {"x": "a"}


@pytest.mark.parametrize("encoding", ["float16", "int8"])
def test_a_vector_in_the_other_form_is_read_and_stays(
    server: RunningRedis, tmp_path: Path, encoding: str
) -> None:
    vectors = view_of(
        "prices",
        [ITEM],
        {"item_id": Int64},
        [Field(name="x", dtype=Array(Float32), vector_index=True, vector_length=2)],
    )
    rounded = open_pair(tmp_path / "rounded", server, vector_encoding=encoding)
    full = open_pair(tmp_path / "full", server)
    put(rounded, vectors, NOW, x=[1.0, 1.0])
    put(full, vectors, EARLIER, x=[3.0, 3.0])
    assert read(full, vectors) == {"x": [1.0, 1.0]}
    put(full, vectors, LATER, x=[5.0, 5.0])
    put(rounded, vectors, NOW, x=[7.0, 7.0])
    assert read(rounded, vectors) == {"x": [5.0, 5.0]}
    full.ours.teardown()
    for each in (rounded, full):
        each.close()


@pytest.mark.parametrize("at", [EARLIER, NOW])
def test_a_row_that_is_not_written_renews_the_life_of_its_entity(
    server: RunningRedis, tmp_path: Path, at: datetime
) -> None:
    lives = []
    for seconds in (None, 1_000, 50, None):
        pair = open_pair(tmp_path / str(len(lives)), server, key_ttl_seconds=seconds)
        put(pair, NARROW, NOW if not lives else at, x=1)
        with redis.Redis.from_url(server.url) as client:
            [key] = client.scan_iter(b"*shop")
            lives.append(client.ttl(key))
        pair.close()
    with redis.Redis.from_url(server.url) as client:
        client.delete(key)
    assert lives[0] == lives[3] == -1  # for ever
    assert 50 < lives[1] <= 1_000 and 0 < lives[2] <= 50


def test_many_features_are_compared_in_parts(pair: Pair) -> None:
    names = [f"f{i}" for i in range(2_100)]
    more = view(**dict.fromkeys([*names, "last"], Int64))
    put(pair, view(**dict.fromkeys(names, Int64)), NOW, **dict.fromkeys(names, 1))
    put(pair, more, NOW, **dict.fromkeys([*names, "last"], 2))
    key = EntityKey(join_keys=["item_id"], entity_values=[Value(int64_val=1)])
    [(_, found)] = online(pair.ours).online_read(pair.ours.config, more, [key])
    assert found is not None and {each.int64_val for each in found.values()} == {2}
    assert len(found) == 2_101
    online(pair.ours).delete_table(pair.ours.config, more)
