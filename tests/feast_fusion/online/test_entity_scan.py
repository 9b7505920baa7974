"""The keys of one project's entities, and of no other's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from feast.infra.online_stores.redis import _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import RedisCluster

from feast_fusion.online.entity_scan import delete_entities, delete_fields, scan_entities
from tests.feast_fusion.online.redis_faults import open_redis, redis_cluster

# The length of a name is a byte of the key: 42, 63, 91 and 92 are *, ?, [ and \ of a pattern.
NAMES = st.sampled_from(["id", "a" * 42, "b" * 63, "c" * 91, "d" * 92, "user_id", "*", "[x]"])
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda n: Value(int64_val=n)),
    st.sampled_from(["", "shop", "bigshop", "*", "x" * 91, "\\"]).map(
        lambda text: Value(string_val=text)
    ),
)
PROJECTS = ["shop", "bigshop", "p", "hop"]
ENTITIES = st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis.Redis"]:
    with (
        open_redis(tmp_path_factory.mktemp("redis")) as server,
        redis.Redis.from_url(server.url) as opened,
    ):
        yield opened


def key_of(entity: dict[str, Value], project: str) -> bytes:
    key = EntityKey(join_keys=list(entity), entity_values=list(entity.values()))
    made: bytes = _redis_key(project, key, 3)
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entities=st.lists(ENTITIES, min_size=1, max_size=8))
def test_the_keys_of_each_kind_of_entity_and_project(
    client: "redis.Redis", entities: list[dict[str, Value]]
) -> None:
    client.flushall()
    for entity in entities:
        for project in PROJECTS:
            client.hset(key_of(entity, project), "f", "1")
    for names in {tuple(sorted(entity)) for entity in entities}:
        for project in PROJECTS:
            expected = {key_of(e, project) for e in entities if tuple(sorted(e)) == names}
            found = {key for keys in scan_entities(client, names, project) for key in keys}
            assert found == expected


def test_deletion_leaves_other_projects_and_fields(client: "redis.Redis") -> None:
    client.flushall()
    entity = {"id": Value(int64_val=1)}
    ours, theirs = key_of(entity, "shop"), key_of(entity, "bigshop")
    for key in (ours, theirs):
        client.hset(key, mapping={"a": "1", "b": "1"})
    delete_fields(client, ["id"], "shop", [b"a"])
    assert client.hkeys(ours) == [b"b"] and client.hlen(theirs) == 2
    delete_entities(client, ["id"], "shop")
    assert not client.exists(ours) and client.hlen(theirs) == 2


def test_a_cluster_is_scanned_whole(tmp_path: Path) -> None:
    entities = [{"id": Value(int64_val=number)} for number in range(60)]
    with redis_cluster(tmp_path, 3) as nodes:
        host, port = nodes[0].address.split(":")
        with RedisCluster(host=host, port=int(port)) as client:
            for entity in entities:
                for project in ("shop", "bigshop"):
                    client.hset(key_of(entity, project), "f", "1")
            found = [key for keys in scan_entities(client, ["id"], "shop") for key in keys]
            assert sorted(found) == sorted(key_of(entity, "shop") for entity in entities)
            delete_entities(client, ["id"], "shop")
            assert [*scan_entities(client, ["id"], "shop")] in ([], [[]])
            assert len([k for ks in scan_entities(client, ["id"], "bigshop") for k in ks]) == 60
