"""The memory of one view's rows, beside what Redis says with and without them."""

from pathlib import Path

import pytest
import redis
from feast.infra.online_stores.redis import _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feast_fusion.online.row_memory import measure_rows
from tests.feast_fusion.online.redis_faults import open_redis

FIELDS, STAMP = [b"vector", b"_ts:wide"], b"_ts:wide"


def test_rows_of_a_view_take_what_redis_frees_without_them(tmp_path: Path) -> None:
    def key(at: int) -> bytes:
        entity = EntityKey(join_keys=["item_id"], entity_values=[Value(string_val=f"i{at}")])
        made: bytes = _redis_key("shop", entity, 3)
        return made

    with open_redis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        for at in range(700):  # more than are asked for their memory
            client.hset(key(at), mapping={"other": b"x" * 300, "_ts:other": b"y" * 12})
            if at % 7:
                client.hset(key(at), mapping={"vector": b"v" * 1536, STAMP: b"z" * 12})
        found = measure_rows(client, ["item_id"], "shop", FIELDS, STAMP)
        assert found.n_rows == 600
        assert measure_rows(client, ["item_id"], "bigshop", FIELDS, STAMP).n_rows == 0
        before = sum(client.memory_usage(key(at), samples=0) for at in range(700))
        for at in range(700):
            client.hdel(key(at), *FIELDS)
        after = sum(client.memory_usage(key(at), samples=0) for at in range(700))
    assert found.n_bytes == pytest.approx(before - after, rel=0.15)
