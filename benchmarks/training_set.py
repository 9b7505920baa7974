"""Point-in-time retrieval: ours, Feast's duckdb and file stores, and polars by hand (the floor).

Entity rows join a user view of 5 scalars, an item view of 3 scalars and an item view of one 384-d
vector. Times are the best of rounds that alternate between the cases in one process; memory is
what the peak of a child process grew by while it ran one case, after it had warmed up. All cases
return the same rows, which is checked.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

from benchmarks.feature_store import new_store, unit_vectors, vector_field
from benchmarks.report import Case, added_memory_mb, child_memory_mb, compared, report
from feast_fusion.training_set import TrainingSet

OURS = "feast_fusion.point_in_time.PointInTimeOfflineStore"
WIDTH = 384
YEAR_US = 365 * 86_400_000_000
START_US = 1_600_000_000_000_000
VIEWS = {"user": [f"u{i}" for i in range(5)], "item": [f"i{i}" for i in range(3)], "vec": ["emb"]}
KEYS = {"user": "user_id", "item": "item_id", "vec": "item_id"}
FEATURES = [f"{view}:{name}" for view, names in VIEWS.items() for name in names]
TARGETS = [
    "to_arrow: time and memory at most 1.3 of polars",
    "to_training_set: time at most 0.5, memory at most 0.35 of polars",
]


@dataclass(frozen=True)
class Size:
    """Rows of the sources and the numbers of entity rows to time."""

    users: int
    items: int
    entities: tuple[int, int]
    rounds: tuple[int, int]


FULL = Size(20_000, 5_000, (100_000, 1_000_000), (7, 3))
QUICK = Size(500, 200, (2_000, 20_000), (2, 1))


def make_data(folder: Path, size: Size) -> None:
    """Sources with 20 versions per user and 10 per item, and the entity tables."""
    rng = np.random.default_rng(0)

    def times(n: int) -> pa.Array:
        return pa.array(START_US + rng.integers(0, YEAR_US, n)).cast(pa.timestamp("us", tz="UTC"))

    def write(name: str, key: np.ndarray[Any, Any], columns: dict[str, Any]) -> None:
        times_of = times(len(key))
        table = pa.table({KEYS[name]: key, "event_timestamp": times_of, **columns})
        pq.write_table(table, folder / f"{name}.parquet")

    users = np.tile(np.arange(size.users), 20)
    items = np.tile(np.arange(size.items), 10)
    write("user", users, {name: rng.random(len(users)) for name in VIEWS["user"]})
    write("item", items, {name: rng.random(len(items)) for name in VIEWS["item"]})
    write("vec", items, {"emb": unit_vectors(rng, len(items), WIDTH)})
    for n in size.entities:
        columns = {
            "user_id": rng.integers(0, size.users, n),
            "item_id": rng.integers(0, size.items, n),
            "event_timestamp": times(n),
            "row": np.arange(n),
        }
        pq.write_table(pa.table(columns), folder / f"entities-{n}.parquet")


def open_store(folder: Path, kind: str, **options: Any) -> FeatureStore:
    """The same three views on one of the offline stores; `options` are the store's."""
    entities = {
        key: Entity(name=key.removesuffix("_id"), join_keys=[key], value_type=ValueType.INT64)
        for key in dict.fromkeys(KEYS.values())
    }
    views = [
        FeatureView(
            name=name,
            entities=[entities[KEYS[name]]],
            ttl=timedelta(0),
            schema=[
                Field(name=KEYS[name], dtype=Int64),
                *(
                    vector_field(n, WIDTH) if n == "emb" else Field(name=n, dtype=Float64)
                    for n in names
                ),
            ],
            source=FileSource(
                name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp"
            ),
        )
        for name, names in VIEWS.items()
    ]
    repo = folder / "-".join([kind.rsplit(".", 1)[-1], *options])
    online = {"type": "sqlite", "path": str(repo / "online.db")}
    objects = [*entities.values(), *views]
    return new_store(repo, online, objects, offline_store={"type": kind} | options)


def polars_by_hand(folder: Path, n: int) -> pa.Table:
    """The floor: an as-of join per view on whole rows, then the order given."""
    joined = pl.read_parquet(folder / f"entities-{n}.parquet").sort("event_timestamp")
    for name, columns in VIEWS.items():
        source = pl.read_parquet(
            folder / f"{name}.parquet", columns=[KEYS[name], "event_timestamp", *columns]
        )
        joined = joined.join_asof(
            source.sort("event_timestamp"),
            on="event_timestamp",
            by=KEYS[name],
            check_sortedness=False,  # sorted just now; polars cannot see that with `by`
        )
    return joined.sort("row").to_arrow()


def cases(folder: Path, n: int) -> dict[str, Callable[[], Any]]:
    """What is measured, by name. Feast's own stores take pandas only, read before the clock."""
    path = folder / f"entities-{n}.parquet"
    ours = open_store(folder, OURS)

    entities = pd.read_parquet(path)

    def stock(kind: str) -> Callable[[], Any]:
        store = open_store(folder, kind)
        return lambda: store.get_historical_features(entities, FEATURES).to_arrow()

    return {
        "polars": lambda: polars_by_hand(folder, n),
        "to_arrow": lambda: ours.get_historical_features(str(path), FEATURES).to_arrow(),
        "to_training_set": lambda: ours.get_historical_features(
            str(path), FEATURES
        ).to_training_set(),
        "feast_duckdb": stock("duckdb"),
        "feast_file": stock("dask"),
    }


def time_rounds(folder: Path, n: int, rounds: int, names: list[str]) -> dict[str, float]:
    """Best seconds of each case."""
    best: dict[str, float] = {}
    running = cases(folder, n)
    for _ in range(rounds):
        for name in names:
            started = time.perf_counter()
            result = running[name]()
            seconds = time.perf_counter() - started
            del result
            best[name] = min(seconds, best.get(name, seconds))
            print(f"  {n:>9,} rows  {name:16} {seconds:8.3f} s", flush=True)
    return best


def child(name: str, folder: Path, n: int, small: int) -> None:
    """Warm up on a few rows, forget the peak so far, run the case, print what it added."""
    cases(folder, small)[name]()
    print(added_memory_mb(cases(folder, n)[name]))


def check_same_rows(folder: Path, n: int) -> None:
    """Every case returns the floor's rows; ours in the order given."""
    running = cases(folder, n)
    floor = pl.DataFrame(running["polars"]())
    arrow = pl.DataFrame(running["to_arrow"]()).select(floor.columns)
    assert arrow.equals(floor), "to_arrow differs from polars"
    indexed: TrainingSet = running["to_training_set"]()
    assert pl.DataFrame(indexed.to_arrow()).select(floor.columns).equals(floor)
    stock = pl.DataFrame(running["feast_duckdb"]()).select(floor.columns).sort("row")
    assert stock.drop("event_timestamp").equals(floor.drop("event_timestamp"))


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON of DESIGN.md, section Benchmarks."""
    size = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="bench-training-set-") as name:
        folder = Path(name)
        make_data(folder, size)
        small, large = size.entities
        check_same_rows(folder, small)
        ours = ["to_arrow", "to_training_set"]
        peers = ["feast_duckdb"] + ([] if quick else ["feast_file"])
        seconds = time_rounds(folder, small, size.rounds[0], ["polars", *ours, "feast_duckdb"])
        seconds |= time_rounds(folder, small, 1, peers[1:])
        at_large = time_rounds(folder, large, size.rounds[1], ["polars", *ours])
        tiny = _tiny(folder)

        def memory_of(case: str, n: int) -> float:
            return child_memory_mb("training_set", case, folder, n, tiny)

        memory = {c: memory_of(c, small) for c in ["polars", *ours, *peers]}
        large_memory = {} if quick else {c: memory_of(c, large) for c in ["polars", *ours]}
    found = [
        *_cases(f"{small:,} rows", "time", "s", seconds),
        *_cases(f"{small:,} rows", "added memory", "MB", memory),
        *_cases(f"{large:,} rows", "time", "s", at_large),
        *(_cases(f"{large:,} rows", "added memory", "MB", large_memory) if large_memory else []),
    ]
    growth = {case: at_large[case] / seconds[case] for case in ["polars", *ours]}
    found += _cases(f"{small:,} to {large:,} rows", "growth of time", "x", growth)
    return report("training-set", found, TARGETS, json_path)


def _tiny(folder: Path) -> int:
    """An entity table to warm up on."""
    first = pq.read_table(next(iter(sorted(folder.glob("entities-*.parquet"))))).slice(0, 16)
    pq.write_table(first, folder / f"entities-{len(first)}.parquet")
    return len(first)


def _cases(rows: str, metric: str, unit: str, found: dict[str, float]) -> list[Case]:
    peers = {name: value for name, value in found.items() if name.startswith("feast_")}
    floor = {"polars": found["polars"]}
    return [
        compared(f"{case}, {rows}", metric, unit, found[case], peers, floor)
        for case in ("to_arrow", "to_training_set")
    ]


if __name__ == "__main__":  # the child whose memory is measured
    _name, _folder, _n, _small = sys.argv[1:]
    child(_name, Path(_folder), int(_n), int(_small))
