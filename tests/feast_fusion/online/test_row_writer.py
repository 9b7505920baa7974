"""Rows written to a real Redis: Feast's layout to the byte, the newest row, never half a row."""

import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.online_stores.redis import (
    RedisOnlineStore,
    _mmh3,
)
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.types import Array, FeastType, Float32, Float64, Int64, String
from feast.utils import _convert_arrow_to_proto
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from redis import Redis

from cli.redis_process import RunningRedis
from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.history.online_rows import write_online
from feast_fusion.history.view_schema import view_schema
from feast_fusion.online.redis.transport import Transport
from feast_fusion.online.row_writer import RowWriter
from feast_fusion.redis_matrix import MatrixRedisOnlineStore, MatrixRedisOnlineStoreConfig
from feast_fusion.times import TIMESTAMP

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WIDTH = 4
PROJECT = "writers"

Write = tuple[int, int | None, bool]  # event time, created time (None: none), whether by stock


def view_of(
    keys: Mapping[str, FeastType], features: Sequence[Field], name: str = "v"
) -> FeatureView:
    value_types = {String: ValueType.STRING, Int64: ValueType.INT64}
    source = FileSource(
        name=name, path="x.parquet", timestamp_field="at", created_timestamp_column="created"
    )
    return FeatureView(
        name=name,
        entities=[
            Entity(name=k, join_keys=[k], value_type=value_types[t]) for k, t in keys.items()
        ],
        ttl=timedelta(0),
        schema=[*(Field(name=k, dtype=t) for k, t in keys.items()), *features],
        source=source,
    )


VECTOR = Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=WIDTH)
VIEW = view_of({"id": Int64}, [VECTOR, Field(name="title", dtype=String)])


def rows_of(
    ids: Sequence[Any],
    times: Sequence[int | None],
    created: Sequence[int | None],
    mark: int = 0,
    **keys: Any,
) -> pa.Table:
    """Rows whose every feature tells the two times of the row, in microseconds, and the mark."""
    told = [
        (0 if at is None else at, -1 if made is None else made)
        for at, made in zip(times, created, strict=True)
    ]
    columns = {
        "id": pa.array(ids),
        **{name: pa.array(values) for name, values in keys.items()},
        "emb": pa.array(
            [[at % 1000, made % 1000, mark, 2] for at, made in told], pa.list_(pa.float32())
        ),
        "title": pa.array([f"{at} {made} {mark}" for at, made in told]),
        "at": pa.array(times, pa.int64()).cast(TIMESTAMP),
        "created": pa.array(created, pa.int64()).cast(TIMESTAMP),
    }
    return pa.table(columns)


def protos_of(table: pa.Table, view: Any) -> list[Any]:
    types = {field.name: field.dtype.to_value_type() for field in view.entity_columns}
    rows = _convert_arrow_to_proto(table.combine_chunks(), view, types)
    return [(*row[:3], None if str(row[3]) == "NaT" else row[3]) for row in rows]


class Stores:
    """A Redis, ways to write to it, and what is in it."""

    def __init__(self, server: RunningRedis, **options: Any) -> None:
        self.online_store = MatrixRedisOnlineStoreConfig(
            connection_string=server.connection,
            connect_timeout_ms=5_000,  # a busy machine is no dead Redis
            **options,
        )
        self.config = SimpleNamespace(
            project=PROJECT,
            online_store=self.online_store,
            entity_key_serialization_version=3,
            registry=SimpleNamespace(enable_online_feature_view_versioning=False),
        )
        self.client = Redis.from_url(server.url)
        self.transport = Transport(self.online_store)
        self.stock = RedisOnlineStore()
        self.writer = RowWriter(self.transport, self.config)

    def write_stock(self, table: pa.Table, view: Any = VIEW) -> None:
        self.stock.online_write_batch(self.config, view, protos_of(table, view), None)

    def read_stock(self, table: pa.Table, view: Any = VIEW) -> list[Any]:
        keys = [key for key, _, _, _ in protos_of(table, view)]
        return list(self.stock.online_read(self.config, view, keys))

    def hashes(self, *, ours: bool = False) -> dict[bytes, dict[bytes, bytes]]:
        """Every hash; without the field that stock does not have, unless `ours`."""
        found = {key: self.client.hgetall(key) for key in self.client.scan_iter(count=1000)}
        if ours:
            return found
        return {
            key: {name: value for name, value in fields.items() if name[:9] != b"_created:"}
            for key, fields in found.items()
        }

    def close(self) -> None:
        self.transport.close()
        self.client.close()
        if self.stock._client is not None:
            self.stock._client.close()


@pytest.fixture
def stores(server: RunningRedis) -> Iterator[Stores]:
    opened = Stores(server)
    opened.client.flushall()
    yield opened
    opened.close()


# -- layout --

TIMES = st.integers(-4 * 10**15, 4 * 10**15)  # stock reads later ones to 2 microseconds only
IDS = {
    Int64: st.integers(-(2**63), 2**63 - 1),
    String: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
}


@pytest.mark.parametrize("keys", [{"id": Int64}, {"id": String}, {"id": Int64, "shop": String}])
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_hashes_are_those_of_stock_to_the_byte(
    stores: Stores, keys: dict[str, FeastType], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, 5))
    # Stock forgets times before 1970 in its guard, so each entity has one row here.
    drawn = {
        k: data.draw(st.lists(IDS[t], min_size=n, max_size=n, unique=True)) for k, t in keys.items()
    }
    times = data.draw(st.lists(TIMES, min_size=n, max_size=n))
    created = data.draw(st.lists(st.none() | TIMES, min_size=n, max_size=n))
    table = rows_of(drawn.pop("id"), times, created, **drawn)
    view = view_of(keys, [VECTOR, Field(name="title", dtype=String)])
    found = []
    for write in (
        lambda: stores.write_stock(table, view),
        lambda: stores.writer.write_table(view, table),
        lambda: stores.writer.write_rows(view, protos_of(table, view)),
    ):
        stores.client.flushall()
        write()
        found.append(stores.hashes())
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == n
    assert [at for at, _ in stores.read_stock(table, view)] == [
        EPOCH + timedelta(microseconds=each) for each in times
    ]


def test_tables_of_many_chunks_and_batches_are_written_whole(stores: Stores) -> None:
    n = 2_500
    table = pa.concat_tables(
        rows_of(range(i, i + 500), [7] * 500, [None] * 500) for i in range(0, n, 500)
    )
    assert table.column("emb").num_chunks == 5
    assert stores.writer.write_table(VIEW, table) == n
    written = stores.hashes()
    stores.client.flushall()
    for at in range(0, n, 500):
        stores.write_stock(table.slice(at, 500))
    assert written == stores.hashes()
    assert stores.writer.write_table(VIEW, table.slice(0, 0)) == 0
    assert stores.writer.write_rows(VIEW, []) == 0


def test_the_engine_gives_tables_to_a_store_that_takes_them(
    server: RunningRedis, stores: Stores
) -> None:
    address = server.connection
    ours = MatrixRedisOnlineStore()
    options = MatrixRedisOnlineStoreConfig(connection_string=address, connect_timeout_ms=5_000)
    table = rows_of(range(1_500), [5] * 1_500, [None] * 1_500)
    found = []
    for online_store, config in ((stores.stock, stores.online_store), (ours, options)):
        stores.client.flushall()
        stores.config.online_store = config
        stores.config.materialization_config = SimpleNamespace(online_write_batch_size=None)
        stores.client.config_resetstat()
        write_online(stores.config, online_store, VIEW, view_schema(VIEW), table)
        found.append(stores.hashes())
        scripts = stores.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        assert (scripts >= 1_500) is (online_store is ours)
    assert found[0] == found[1]
    assert len(found[1]) == 1_500
    ours.disconnect()


def test_a_view_without_entities_and_one_of_many_features(stores: Stores) -> None:
    many = [Field(name=f"f{i}", dtype=Float64) for i in range(4_500)]
    columns = {field.name: pa.array([float(i)]) for i, field in enumerate(many)}
    times = {"at": pa.array([5], TIMESTAMP), "created": pa.array([6], TIMESTAMP)}
    view = view_of({}, many)
    view.entity_columns = [Field(name=DUMMY_ENTITY_ID, dtype=String)]  # as `feast apply` does
    assert stores.writer.write_table(view, pa.table({**columns, **times})) == 1
    (key,) = stores.hashes()
    assert stores.client.hlen(key) == 4_502
    value = ValueProto.FromString(stores.client.hget(key, _mmh3("v:f4499")))
    assert value.double_val == 4499


# -- the newest wins --


def order_of(write: Write) -> tuple[int, int]:
    return write[0], -1 if write[1] is None else write[1]


def newest(writes: Sequence[Write]) -> int:
    """Take the writes one after the other, as the contract says it: which one is kept."""
    kept = 0
    for i, write in enumerate(writes):
        if order_of(write) > order_of(writes[kept]):
            kept = i
    return kept


def equal_replaces(writes: Sequence[Write]) -> int:
    kept = 0
    for i, write in enumerate(writes):
        if order_of(write) >= order_of(writes[kept]):
            kept = i
    return kept


def ignores_created(writes: Sequence[Write]) -> int:
    kept = 0
    for i, write in enumerate(writes):
        if write[0] > writes[kept][0]:
            kept = i
    return kept


def believes_a_stale_created(writes: Sequence[Write]) -> int:
    """A stock write leaves the created timestamp of the row that it replaces."""
    kept, created = 0, order_of(writes[0])[1]
    for i, write in enumerate(writes):
        at, made = order_of(write)
        if at > writes[kept][0] or (at == writes[kept][0] and made > created):
            kept, created = i, created if write[2] else made
    return kept


# Small numbers, so that ties are many; stock writers have no created timestamp.
WRITES = st.lists(
    st.tuples(st.integers(1, 3), st.none() | st.integers(1, 3), st.booleans()).map(
        lambda write: (write[0], None, True) if write[2] else write
    ),
    min_size=1,
    max_size=6,
)


def write_all(stores: Stores, writes: Sequence[Write], as_rows: bool = False) -> int:
    """Which of the writes is stored, whole, after all of them in their order."""
    stores.client.flushall()
    for i, (at, created, is_stock) in enumerate(writes):
        table = rows_of([1], [at], [created], mark=i)
        if is_stock:
            stores.write_stock(table)
        elif as_rows:
            stores.writer.write_rows(VIEW, protos_of(table, VIEW))
        else:
            stores.writer.write_table(VIEW, table)
    at, created, kept = marked(stores)
    assert (at, created) == writes[kept][:2]
    return kept


def told(stores: Stores, entity: int = 1) -> tuple[int, int | None]:
    """(event time, created) of the stored row."""
    return marked(stores, entity)[:2]


def marked(stores: Stores, entity: int = 1) -> tuple[int, int | None, int]:
    """What the features of the stored row say of it; they have to agree."""
    ((stamp, values),) = stores.read_stock(rows_of([entity], [0], [0]))
    at, made, mark = map(int, values["title"].string_val.split())
    assert stamp == EPOCH + timedelta(microseconds=at)
    assert list(values["emb"].float_list_val.val[:2]) == [at % 1000, made % 1000]
    assert values["emb"].float_list_val.val[2] == mark
    return at, None if made == -1 else made, mark


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES, as_rows=st.booleans())
def test_the_newest_write_is_what_is_stored(
    stores: Stores, writes: list[Write], as_rows: bool
) -> None:
    assert write_all(stores, writes, as_rows) == newest(writes)


@pytest.mark.parametrize("bug", [equal_replaces, ignores_created, believes_a_stale_created])
def test_the_oracle_catches(bug: Callable[[Sequence[Write]], int], stores: Stores) -> None:
    assert find(
        WRITES,
        lambda writes: bug(writes) != newest(writes) and write_all(stores, writes) != bug(writes),
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=st.lists(st.tuples(TIMES, st.none() | TIMES), min_size=1, max_size=8, unique=True))
def test_rows_of_one_entity_in_one_batch(
    stores: Stores, orders: list[tuple[int, int | None]]
) -> None:
    stores.client.flushall()
    table = rows_of([1] * len(orders), *map(list, zip(*orders, strict=True)))
    stores.writer.write_table(VIEW, table)
    expected = max(orders, key=lambda order: (order[0], order[1] is not None, order[1] or 0))
    ((stamp, values),) = stores.read_stock(table.slice(0, 1))
    assert stamp == EPOCH + timedelta(microseconds=expected[0])
    made = -1 if expected[1] is None else expected[1]
    assert values["title"].string_val == f"{expected[0]} {made} 0"


def test_the_count_is_of_rows_that_were_written(stores: Stores) -> None:
    assert stores.writer.write_table(VIEW, rows_of([1, 2, 1], [5, 5, 4], [None] * 3)) == 2
    assert stores.writer.write_table(VIEW, rows_of([1, 2], [5, 6], [None] * 2)) == 1


def test_a_created_timestamp_is_a_protobuf_timestamp_and_goes_with_its_row(stores: Stores) -> None:
    stores.writer.write_table(VIEW, rows_of([1], [5], [1_500_000]))
    ((_, fields),) = stores.hashes(ours=True).items()
    assert Timestamp.FromString(fields[b"_created:v"]).ToMicroseconds() == 1_500_000
    stores.writer.write_table(VIEW, rows_of([1], [6], [None]))
    ((_, fields),) = stores.hashes(ours=True).items()
    assert b"_created:v" not in fields


def test_options_of_the_stock_store(server: RunningRedis, stores: Stores) -> None:
    other = Stores(server, skip_dedup=True, key_ttl_seconds=500)
    stores.writer.write_table(VIEW, rows_of([1], [5], [5]))
    (key,) = stores.hashes()
    assert stores.client.ttl(key) == -1
    assert other.writer.write_table(VIEW, rows_of([1], [4], [None])) == 1  # older, and written
    assert told(stores) == (4, None)
    assert 490 < stores.client.ttl(key) <= 500
    other.close()


def test_a_redis_that_has_forgotten_the_script(stores: Stores) -> None:
    stores.writer.write_table(VIEW, rows_of([1], [5], [5]))
    stores.client.script_flush()
    assert stores.writer.write_table(VIEW, rows_of([1], [6], [6])) == 1


# -- what is refused --


@pytest.mark.parametrize(
    ("vector", "got"),
    [
        ([1.0, 2.0, 3.0], r"width 3, expected width 4"),
        ([1.0, float("nan"), 3.0, 4.0], r"nan|not finite"),
        ([1.0, float("inf"), 3.0, 4.0], r"inf|not finite"),
    ],
)
def test_a_bad_vector_names_its_entity(stores: Stores, vector: list[float], got: str) -> None:
    table = rows_of([1, 7], [5, 5], [5, 5])
    emb = pa.array([[1.0, 2.0, 3.0, 4.0], vector], pa.list_(pa.float32()))
    bad = table.set_column(table.column_names.index("emb"), "emb", emb)
    named = rf"'v'.*'emb'.*id=7.*({got})"
    with pytest.raises(SchemaError, match=named):
        stores.writer.write_table(VIEW, bad)
    rows = protos_of(table, VIEW)
    rows[1][1]["emb"].float_list_val.val[:] = vector
    with pytest.raises(SchemaError, match=named):
        stores.writer.write_rows(VIEW, rows)
    assert stores.hashes() == {}


def test_a_vector_that_is_no_list_names_its_entity(stores: Stores) -> None:
    rows = protos_of(rows_of([1], [5], [5]), VIEW)
    rows[0][1]["emb"].CopyFrom(ValueProto(string_val="x"))
    with pytest.raises(SchemaError, match=r"'emb', entity id=1: got a string_val"):
        stores.writer.write_rows(VIEW, rows)


def test_null_vectors_and_features_are_stored_as_null(stores: Stores) -> None:
    table = rows_of([1, 2], [5, 5], [5, 5])
    for name in ("emb", "title"):
        column = table.column(name).to_pylist()
        at = table.column_names.index(name)
        table = table.set_column(
            at, name, pa.array([column[0], None], table.schema.field(name).type)
        )
    for write in (
        lambda: stores.writer.write_table(VIEW, table),
        lambda: stores.writer.write_rows(VIEW, protos_of(table, VIEW)),
    ):
        stores.client.flushall()
        write()
        (_, full), (_, empty) = stores.read_stock(table)
        assert full["emb"].WhichOneof("val") == "float_list_val"
        assert [empty[name].WhichOneof("val") for name in ("emb", "title")] == [None, None]


def test_null_times_and_missing_columns_are_refused(stores: Stores) -> None:
    with pytest.raises(SchemaError, match=r"'at', first at id=2.*got null"):
        stores.writer.write_table(VIEW, rows_of([1, 2], [5, None], [5, 5]))
    with pytest.raises(SchemaError, match=r"expected also \['title'\]"):
        stores.writer.write_table(VIEW, rows_of([1], [5], [5]).drop(["title"]))


def test_a_full_redis_keeps_the_row_that_it_has(stores: Stores) -> None:
    stores.writer.write_table(VIEW, rows_of([1], [5], [5]))
    stores.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailableError, match="OOM"):
            stores.writer.write_table(VIEW, rows_of([1], [6], [6]))
    finally:
        stores.client.config_set("maxmemory", 0)
    assert told(stores) == (5, 5)
    stores.writer.write_table(VIEW, rows_of([1], [6], [6]))
    assert told(stores) == (6, 6)


# -- rounded vectors, memory --


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        ("float16", np.array([1, 0, 1, -1], "<f2").tobytes()),
        ("int8", b"\xff\xff" + np.float32(1 / 127).tobytes() + bytes([127, 0, 127, 129])),
    ],
)
def test_rounded_vectors_from_tables_and_rows(
    server: RunningRedis, stores: Stores, encoding: str, payload: bytes
) -> None:
    other = Stores(server)
    other.config.online_store = SimpleNamespace(
        skip_dedup=False, key_ttl_seconds=None, vector_encoding=encoding
    )
    writer = RowWriter(other.transport, other.config)
    table = rows_of(range(3), [5] * 3, [5] * 3)
    emb = pa.array([[1, 0, 1, -1], [1e-45, 0, 0, 0], None], pa.list_(pa.float32()))
    table = table.set_column(table.column_names.index("emb"), "emb", emb)
    hashes = []
    for write in (
        lambda: writer.write_table(VIEW, table),
        lambda: writer.write_rows(VIEW, protos_of(table, VIEW)),
    ):
        stores.client.flushall()
        write()
        hashes.append(stores.hashes())
    assert hashes[0] == hashes[1]
    stored = [found[_mmh3("v:emb")] for found in hashes[0].values()]
    kinds = sorted(str(ValueProto.FromString(value).WhichOneof("val")) for value in stored)
    assert kinds == ["None", "bytes_val", "float_list_val"]
    assert ValueProto(bytes_val=payload).SerializeToString() in stored
    other.close()


def test_what_is_sent_at_once_is_bounded(stores: Stores) -> None:
    sizes: list[int] = []
    real = stores.transport.write

    def write(commands: Any, **options: Any) -> Any:
        sizes.append(sum(len(part) for command in commands for part in command))
        return real(commands, **options)

    stores.transport.write = write  # type: ignore[method-assign]
    wide = view_of({"id": Int64}, [Field(name="text", dtype=String)], "wide")
    table = rows_of(range(3_000), [5] * 3_000, [5] * 3_000)
    table = table.append_column("text", pa.array(["x" * 10_000] * 3_000))
    assert stores.writer.write_table(wide, table) == 3_000
    assert stores.writer.write_rows(wide, protos_of(table.slice(0, 1_000), wide)) == 0
    assert max(sizes) < 5 << 20
    assert len(sizes) == 8 + 3


# -- two writers at once --

N_ENTITIES = 40
N_ROUNDS = 30


def orders_of(seed: int) -> list[tuple[int, int | None]]:
    """Times of a writer's rounds: older, newer and equal ones to the other writer's, shuffled."""
    rng = np.random.default_rng(seed)
    times = rng.integers(1, N_ROUNDS, N_ROUNDS).tolist()
    return [(at, None if rng.random() < 0.2 else int(rng.integers(0, 999))) for at in times]


def write_rounds(host: str, port: int, seed: int, start: Any) -> None:
    """What each of two processes does: the process of the tests, and a process that it starts."""
    stores = Stores(RunningRedis(host, port, 0))
    start.wait(60)
    for at, created in orders_of(seed):
        table = rows_of(range(N_ENTITIES), [at] * N_ENTITIES, [created] * N_ENTITIES)
        assert stores.writer.write_table(VIEW, table) <= N_ENTITIES
    stores.close()


def assert_newest_and_whole(stores: Stores, orders: Sequence[tuple[int, int | None]]) -> None:
    expected = max(orders, key=lambda order: (order[0], -1 if order[1] is None else order[1]))
    for entity in range(N_ENTITIES):
        assert told(stores, entity) == expected


def test_the_newest_of_two_processes_wins_whole(server: RunningRedis, stores: Stores) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(2)
    other = spawn.Process(target=write_rounds, args=(server.host, server.port, 1, start))
    other.start()
    write_rounds(server.host, server.port, 2, start)
    other.join(60)
    assert other.exitcode == 0
    assert_newest_and_whole(stores, orders_of(1) + orders_of(2))


def test_that_check_catches_a_guard_that_reads_and_then_writes(
    server: RunningRedis, stores: Stores
) -> None:
    """Stock's own guard: both writers read before either writes, and the older writes last."""
    both_have_read, newer_has_written = threading.Barrier(2), threading.Event()
    opened = [Stores(server) for _ in range(2)]

    def write(mine: Stores, at: int) -> None:
        client = mine.stock._get_client(mine.online_store)
        real = client.pipeline

        def pipeline(**options: Any) -> Any:
            opened = real(**options)
            execute, n_executed = opened.execute, count()

            def execute_in_turn() -> Any:
                if next(n_executed) == 1:  # the first reads, the second writes
                    both_have_read.wait(30)
                    assert at == 2 or newer_has_written.wait(30)
                return execute()

            opened.execute = execute_in_turn
            return opened

        client.pipeline = pipeline
        mine.write_stock(rows_of(range(N_ENTITIES), [at] * N_ENTITIES, [None] * N_ENTITIES))
        if at == 2:
            newer_has_written.set()

    threads = [threading.Thread(target=write, args=(opened[at - 1], at)) for at in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with pytest.raises(AssertionError):
        assert_newest_and_whole(stores, [(1, None), (2, None)])
    for each in opened:
        each.close()
