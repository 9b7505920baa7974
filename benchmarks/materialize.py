"""Materializing vectors to Redis: ours, Feast's own duckdb and redis stores, and HSET (the floor).

`FeatureStore.materialize` of one view of a 384-d vector and a created timestamp, from Parquet into
an empty Redis. Ours is `PointInTimeOfflineStore`, `HistoryEngine` and `MatrixRedisOnlineStore`; the
floor sends the finished hashes with redis-py's pipeline, read, encoded and ordered by nobody. Rates
are the best of rounds that alternate in one process, on one Redis; memory is what the peak of a
child process grew by while it materialized, after it had warmed up on a few rows. What stock and
ours leave in Redis is checked to be the same.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Int64
from redis import Redis

from benchmarks.feature_store import new_store, unit_vectors, vector_field
from benchmarks.report import Case, added_memory_mb, child_memory_mb, compared, report
from cli.embedded_redis import embedded_redis
from cli.redis_process import RunningRedis

WIDTH = 384
PART_ROWS = 10_000
START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2025, 1, 1, tzinfo=UTC)
TARGETS = ["4.0 x the rate of stock, memory that does not grow with the rows"]
MATRIX = "feast_fusion.redis_matrix.MatrixRedisOnlineStore"
OURS: dict[str, Any] = {
    "offline_store": {"type": "feast_fusion.point_in_time.PointInTimeOfflineStore"},
    "batch_engine": {"type": "feast_fusion.history_engine.HistoryEngine"},
}
STOCK = "feast_duckdb_redis"
# Case -> configuration, and options of the online store.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "float32": (OURS, {"type": MATRIX}),
    "float16": (OURS, {"type": MATRIX, "vector_encoding": "float16"}),
    STOCK: ({"offline_store": {"type": "duckdb"}}, {"type": "redis"}),
}


@dataclass(frozen=True)
class Size:
    """Rows and rounds to time, rows to see memory grow with."""

    rows: int
    rounds: int
    memory_rows: tuple[int, ...]


# Memory levels off when the second batch of the engine follows the first, of 10,000 rows each.
FULL = Size(10_000, 7, (10_000, 30_000, 100_000))
QUICK = Size(500, 2, (500, 1_000))


def make_data(folder: Path, n: int) -> None:
    """A source of `n` items with one vector each, written in parts so that memory stays flat."""
    rng = np.random.default_rng(0)
    times = pa.timestamp("us", tz="UTC")
    list_type = pa.list_(pa.float32())
    schema = pa.schema(
        {"item_id": pa.int64(), "event_timestamp": times, "created": times, "emb": list_type}
    )
    with pq.ParquetWriter(folder / f"items-{n}.parquet", schema) as writer:
        for first in range(0, n, PART_ROWS):
            ids = np.arange(first, min(n, first + PART_ROWS))
            at = pa.array(int(START.timestamp() * 1e6) + 1_000_003 * (ids + 1)).cast(times)
            emb = unit_vectors(rng, len(ids), WIDTH)
            writer.write_table(pa.table([pa.array(ids), at, at, emb], schema=schema))


def open_store(folder: Path, case: str, n: int, server: RunningRedis) -> FeatureStore:
    """A repository of one view over `n` items."""
    config, online = CASES[case]
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="items",
        path=str(folder / f"items-{n}.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    view = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="item_id", dtype=Int64), vector_field("emb", WIDTH)],
        source=source,
    )
    online = {"connection_string": server.connection, **online}
    return new_store(folder / f"{case}-{n}", online, [item, view], **config)


def materialize(store: FeatureStore) -> None:
    """Feast's command, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        store.materialize(START, END)


@contextlib.contextmanager
def client_of(server: RunningRedis) -> Iterator[Redis]:
    client = Redis.from_url(server.url)
    try:
        yield client
    finally:
        client.close()


def hashes(client: Redis) -> dict[bytes, dict[bytes, bytes]]:
    """Everything in Redis, but for the field that stock does not write."""
    keys = list(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        found = pipe.execute()
    return {
        key: {name: value for name, value in fields.items() if not name.startswith(b"_created:")}
        for key, fields in zip(keys, found, strict=True)
    }


def write_plainly(client: Redis, rows: dict[bytes, dict[bytes, bytes]]) -> None:
    """The floor: finished hashes, pipelined by a thousand."""
    with client.pipeline(transaction=False) as pipe:
        for i, (key, fields) in enumerate(rows.items(), start=1):
            pipe.hset(key, mapping=fields)
            if i % 1000 == 0:
                pipe.execute()
        pipe.execute()


def check_same_hashes(
    folder: Path, n: int, server: RunningRedis
) -> dict[bytes, dict[bytes, bytes]]:
    """The hashes that stock leaves, which ours leaves as well."""
    found = []
    with client_of(server) as client:
        for case in (STOCK, "float32"):
            client.flushall()
            materialize(open_store(folder, case, n, server))
            found.append(hashes(client))
    assert found[0] == found[1] and len(found[0]) == n, "stock and ours left different hashes"
    return found[0]


def time_rounds(folder: Path, size: Size, server: RunningRedis) -> dict[str, float]:
    """Best rows per second of each case."""
    n, best = size.rows, {}
    finished = check_same_hashes(folder, n, server)
    with client_of(server) as client:
        running: dict[str, Callable[[], None]] = {
            "floor": lambda: write_plainly(client, finished),
        }
        for case in CASES:
            store = open_store(folder, case, n, server)
            running[case] = lambda store=store: materialize(store)  # type: ignore[misc]
        for _ in range(size.rounds):
            for case, run_case in running.items():
                client.flushall()
                started = time.perf_counter()
                run_case()
                rate = n / (time.perf_counter() - started)
                assert client.dbsize() == n
                best[case] = max(rate, best.get(case, rate))
                print(f"  {n:>9,} rows  {case:20} {rate:12,.0f} rows/s", flush=True)
    return best


def measure_child(
    folder: Path, case: str, n: int, small: int, server: RunningRedis
) -> tuple[float, float]:
    """Growth of a child's peak while it materializes, and what Redis grew by; megabytes."""
    with client_of(server) as client:
        client.flushall()
        empty = client.info("memory")["used_memory"]
        where = (server.host, server.port, server.password)
        added = child_memory_mb("materialize", case, folder, n, small, *where)
        assert client.dbsize() == n
        return added, (client.info("memory")["used_memory"] - empty) / 2**20


def child(case: str, folder: Path, n: int, small: int, server: RunningRedis) -> None:
    """Warm up on a few rows, forget the peak so far, materialize, print what it added."""
    materialize(open_store(folder, case, small, server))
    with client_of(server) as client:
        client.flushall()
    store = open_store(folder, case, n, server)
    print(added_memory_mb(lambda: materialize(store)))


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON of DESIGN.md, section Benchmarks."""
    size = QUICK if quick else FULL
    small, most = 16, size.memory_rows[-1]
    with tempfile.TemporaryDirectory(prefix="bench-materialize-") as name:
        folder = Path(name)
        with embedded_redis(folder / "redis") as server:
            for n in {small, size.rows, *size.memory_rows}:
                make_data(folder, n)
            rates = time_rounds(folder, size, server)
            added, stored = {}, {}
            wanted = [(case, n) for n in size.memory_rows for case in ("float32", STOCK)]
            for case, n in [*wanted, ("float16", most)]:
                added[case, n], stored[case, n] = measure_child(folder, case, n, small, server)
                print(f"  {n:>9,} rows  {case:20} {added[case, n]:8.0f} MB added", flush=True)
    return report("materialize", _results(size, rates, added, stored), TARGETS, json_path)


Measured = dict[tuple[str, int], float]


def _results(size: Size, rates: dict[str, float], added: Measured, stored: Measured) -> list[Case]:
    def memory(case: str, metric: str, n: int, found: Measured) -> Case:
        name, stock = f"{case}, {n:,} rows", {STOCK: found[STOCK, n]}
        return compared(name, metric, "MB", found[case, n], stock, {})

    floor, stock, most = {"floor": rates["floor"]}, {STOCK: rates[STOCK]}, size.memory_rows[-1]
    return [
        *(
            compared(f"{case}, {size.rows:,} rows", "rate", "rows/s", rates[case], stock, floor)
            for case in ("float32", "float16")
        ),
        *(memory("float32", "added memory", n, added) for n in size.memory_rows),
        *(memory(case, "Redis memory", most, stored) for case in ("float32", "float16")),
    ]


if __name__ == "__main__":  # the child whose memory is measured
    _case, _folder, _n, _small, _host, _port, _password = sys.argv[1:]
    _server = RunningRedis(_host, int(_port), 0, _password)
    child(_case, Path(_folder), int(_n), int(_small), _server)
