"""Online reads: ours, Feast's own Redis store, and two floors that decode nothing.

One floor is redis-py by hand; the other a bare socket, which sends the packed commands and takes as
many bytes as are known to come.

A request reads 500 items (a 384-d vector and 5 scalars) and one user (three views: 6 scalars, a
384-d vector, a list of 50 ids). All cases run in one process on one Redis and take turns; their
times are medians. What each returns is checked to be the same first.
"""

import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Float64, Int64, String

from benchmarks.feature_store import new_store, unit_vectors, vector_field
from benchmarks.redis_floors import by_hand, by_socket, commands_of
from benchmarks.report import Case, compared, report
from cli.embedded_redis import embedded_redis
from cli.redis_process import RunningRedis
from feast_fusion.online.codec.vector_encoding import MIN_COSINE, MIN_INT8_COSINE
from feast_fusion.redis_matrix import MatrixRedisOnlineStore, online_store_of, read_online

OURS = "feast_fusion.redis_matrix.MatrixRedisOnlineStore"
WIDTH = 384
N_ITEMS = 500
SCALARS = [f"s{i}" for i in range(5)]
# Of redis-py's: at most.
TARGETS = {
    "read_online": 1.3,
    "read_online, float16": 0.9,
    "read_online, int8": 0.8,
    "read_online, warm cache": 0.25,
}
ROUNDED = {"float16": MIN_COSINE, "int8": MIN_INT8_COSINE}

TARGET_OF_SOCKET = 1.6
FLOORS = ("redis-py", "bare socket")

ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)


def views() -> list[FeatureView]:
    def view(name: str, entity: Entity, fields: list[Field]) -> FeatureView:
        key = Field(name=entity.join_key, dtype=String)
        source = FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp")
        return FeatureView(
            name=name, entities=[entity], schema=[key, *fields], source=source, ttl=timedelta(0)
        )

    return [
        view(
            "items",
            ITEM,
            [vector_field("emb", WIDTH), *(Field(name=n, dtype=Float64) for n in SCALARS)],
        ),
        view("profile", USER, [Field(name=f"p{i}", dtype=Int64) for i in range(6)]),
        view("recent", USER, [Field(name="item_ids", dtype=Array(String))]),
        view("interest", USER, [vector_field("state", WIDTH)]),
    ]


def rows(name: str, n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    embedding = unit_vectors(rng, n, WIDTH)
    columns: dict[str, dict[str, Any]] = {
        "items": {"emb": embedding} | {s: rng.random(n) for s in SCALARS},
        "profile": {f"p{i}": rng.integers(0, 1000, n) for i in range(6)},
        "recent": {"item_ids": pa.array([[f"i{i}" for i in range(50)]] * n)},
        "interest": {"state": embedding},
    }
    key, prefix = ("item_id", "i") if name == "items" else ("user_id", "u")
    at = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * n, pa.timestamp("us", tz="UTC"))
    return pa.table(
        {key: [f"{prefix}{i}" for i in range(n)], "event_timestamp": at} | columns[name]
    )


def open_store(folder: Path, server: RunningRedis, project: str, **online: Any) -> FeatureStore:
    """A repository with the four views; repositories of one project share their rows."""
    options = {"connection_string": server.connection, **online}
    return new_store(folder, options, [ITEM, USER, *views()], project=project)


def fill(store: FeatureStore, n_items: int) -> MatrixRedisOnlineStore:
    online = online_store_of(store)
    for view in store.list_feature_views():
        online.write_table(
            store.config, view, rows(view.name, n_items if view.name == "items" else 1)
        )
    return online


def references(store: FeatureStore) -> list[str]:
    return [f"{view.name}:{f.name}" for view in store.list_feature_views() for f in view.features]


def ours(store: FeatureStore, items: list[str]) -> Callable[[], Any]:
    names, entities = references(store), {"item_id": items, "user_id": ["u0"] * len(items)}
    return lambda: read_online(store, names, entities, full_feature_names=True)


def stock(store: FeatureStore, items: list[str], to_dict: bool) -> Callable[[], Any]:
    """Feast's read: the user apart from the items, which is the faster way to ask."""
    by_key = {
        key: [
            f"{view.name}:{f.name}"
            for view in store.list_feature_views()
            if view.join_keys == [key]
            for f in view.features
        ]
        for key in ("item_id", "user_id")
    }
    rows_of = {"item_id": [{"item_id": i} for i in items], "user_id": [{"user_id": "u0"}]}

    def read() -> Any:
        answers = [
            store.get_online_features(by_key[key], rows_of[key], full_feature_names=True)
            for key in by_key
        ]
        if to_dict:
            return [answer.to_dict() for answer in answers]
        return [_numpy(answer.proto) for answer in answers]

    return read


def _numpy(proto: Any) -> dict[str, Any]:
    names = proto.metadata.feature_names.val
    return {
        name: np.array([getattr(v, str(v.WhichOneof("val"))) for v in result.values])
        if name.split("__")[-1] not in ("emb", "state", "item_ids")
        else [np.array(getattr(v, str(v.WhichOneof("val"))).val) for v in result.values]
        for name, result in zip(names, proto.results, strict=True)
    }


def concurrent(reads: Callable[[], Callable[[], Any]], callers: int, rounds: int) -> list[float]:
    """Seconds of each of `rounds` reads by each of `callers` threads at once."""
    seconds: list[float] = []
    barrier = threading.Barrier(callers)

    def call(read: Callable[[], Any]) -> None:
        read()
        barrier.wait()
        own = [timed(read) for _ in range(rounds)]
        seconds.extend(own)

    threads = [threading.Thread(target=call, args=(reads(),)) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


def timed(read: Callable[[], Any]) -> float:
    started = time.perf_counter()
    result = read()
    seconds = time.perf_counter() - started
    del result
    return seconds


def check_same(answers: dict[str, Any]) -> None:
    """Every way of reading gives the same vectors, the smaller encodings rounded ones."""
    expected = answers["read_online"].columns["items__emb"]
    np.testing.assert_array_equal(
        answers["read_online, warm cache"].columns["items__emb"], expected
    )
    for encoding, least in ROUNDED.items():
        found = answers[f"read_online, {encoding}"].columns["items__emb"]
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = np.einsum("nd,nd->n", found, expected) / lengths
        assert cosines.min() >= least, (encoding, cosines.min())
    stock_numpy = np.stack(answers["feast, numpy from proto"][0]["items__emb"])
    np.testing.assert_array_equal(stock_numpy, expected)
    np.testing.assert_array_equal(answers["feast, to_dict"][0]["items__emb"], expected)


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, and report."""
    rounds, n_stored = (5, 600) if quick else (200, 10_000)
    patient = {"type": OURS, "read_timeout_ms": 5_000, "deadline_ms": 10_000}
    with tempfile.TemporaryDirectory(prefix="bench-online-") as name:
        folder = Path(name)
        with embedded_redis(folder / "redis") as server:
            full = open_store(folder, server, "full", **patient)
            rounded = {
                each: open_store(folder, server, each, vector_encoding=each, **patient)
                for each in ROUNDED
            }
            cached = open_store(
                folder, server, "full", cache_mb=64, cache_join_keys=["item_id"], **patient
            )
            plain = open_store(folder, server, "full", type="redis")
            for store in (full, *rounded.values()):
                fill(store, n_stored)
            items = [f"i{i}" for i in np.random.default_rng(1).permutation(n_stored)[:N_ITEMS]]
            commands = commands_of(full, references(full), "u0", items)
            cases = {
                "redis-py": by_hand(server.connection, commands),
                "bare socket": by_socket(server.connection, commands),
                "read_online": ours(full, items),
                **{f"read_online, {each}": ours(rounded[each], items) for each in ROUNDED},
                "read_online, warm cache": ours(cached, items),
                "feast, numpy from proto": stock(plain, items, to_dict=False),
                "feast, to_dict": stock(plain, items, to_dict=True),
            }
            cases["read_online, warm cache"]()
            reads = online_store_of(cached).cached_reads(cached.config)
            assert reads is not None and reads.wait_until_open(10)
            check_same({name: read() for name, read in cases.items()})
            seconds: dict[str, list[float]] = {name: [] for name in cases}
            for _ in range(rounds):
                for name, read in cases.items():
                    seconds[name].append(timed(read))
            at_8 = {
                "redis-py": concurrent(
                    lambda: by_hand(server.connection, commands), 8, rounds // 5
                ),
                "read_online": concurrent(lambda: ours(full, items), 8, rounds // 5),
            }
            for store in (full, cached, *rounded.values()):
                online_store_of(store).disconnect()
    found = [_case(name, seconds, quantile) for name in TARGETS for quantile in (50, 99)]
    found.append(_case("read_online", at_8, 50, " by 8 callers"))
    targets = [f"{name}: p50 at most {share} of redis-py's" for name, share in TARGETS.items()]
    targets.append(f"read_online: p50 at most {TARGET_OF_SOCKET} of a bare socket's")
    return report("online", found, targets, json_path)


def _case(name: str, seconds: dict[str, list[float]], quantile: int, suffix: str = "") -> Case:
    ms = {each: float(np.percentile(taken, quantile)) * 1000 for each, taken in seconds.items()}
    peers = {each: value for each, value in ms.items() if each.startswith("feast")}
    case = f"{name}, {N_ITEMS} items{suffix}"
    floors = {each: ms[each] for each in FLOORS if each in ms}
    return compared(case, f"p{quantile}", "ms", ms[name], peers, floors)
