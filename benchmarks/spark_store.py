"""The offline store's engine on Sail: against this process (the floor) and plain Spark SQL.

The data are those of the benchmark of training sets: entity rows join three views. Plain SQL joins
each label to all earlier rows of its key and takes the latest time, and reads no features. Sail
runs in this process, so that its seconds of CPU are this process's. Times are those of one run:
the first pays for what is set up once. Memory is what the peak of a child process grew by that
did the work of all workers for a view in which one key has half of all labels and rows.
"""

import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.report import Case, added_memory_mb, child_memory_mb, compared, report
from benchmarks.training_set import FULL, KEYS, OURS, QUICK, VIEWS, make_data, open_store
from feast_fusion.parquet.opening import local_files
from feast_fusion.retrieval.asof_join import AsOf
from feast_fusion.retrieval.key_rows import KeyRows
from feast_fusion.retrieval.spark.parts import label_parts, row_parts, unpacked
from feast_fusion.retrieval.spark.ranges import RANGE, Edges
from feast_fusion.retrieval.spark.session import spark_session
from feast_fusion.retrieval.spark.tasks import ViewTasks

REFS = [f"{view}:{name}" for view, names in VIEWS.items() for name in names]
SCALARS = [ref for ref in REFS if ref.startswith("user:")]
BOUNDED, UNBOUNDED = 200_000, 1 << 40
TARGETS = [
    "1,000,000 labels and three views: under 60 s with two cores",
    "one key with half of all rows: a worker needs at most half of what it needs without a bound",
]
_PLAIN = (
    "SELECT row, max(r.event_timestamp) AS seen FROM labels l JOIN rows r "
    "ON l.{key} = r.{key} AND r.event_timestamp <= l.event_timestamp GROUP BY row"
)


def spark_engine(rows_per_group: int = 1_000_000) -> dict[str, Any]:
    return {"type": "spark", "url": "local", "rows_per_group": rows_per_group}


def training_set(folder: Path, n: int, refs: list[str], engine: dict[str, Any]) -> pa.Table:
    """The entity rows of `n` labels with what they see; vectors stay indexed."""
    store = open_store(folder, OURS, engine=engine)
    entities = str(folder / f"entities-{n}.parquet")
    found = store.get_historical_features(entities, refs).to_training_set()
    columns = {f"which {name}": pa.array(each.index) for name, each in found.vectors.items()}
    return pa.table(dict(zip(found.table.column_names, found.table.columns, strict=True)) | columns)


def plain_sql(folder: Path, n: int) -> dict[str, pa.Table]:
    """For each view, the time of the row that each label sees, where it sees one."""
    found = {}
    with spark_session("local") as spark:
        labels = spark.read.parquet(str(folder / f"entities-{n}.parquet"))
        labels.createOrReplaceTempView("labels")
        for view, key in KEYS.items():
            spark.read.parquet(str(folder / f"{view}.parquet")).createOrReplaceTempView("rows")
            found[view] = spark.sql(_PLAIN.format(key=key)).toArrow()
    return found


def measured(run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, and seconds by the clock and of CPU."""
    started, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, {
        "time": time.perf_counter() - started,
        "time of CPU": time.process_time() - cpu,
    }


def make_skewed(folder: Path, n: int) -> None:
    """`n` rows, and as many labels: one user has half of both."""
    rng = np.random.default_rng(0)

    def table(**columns: Any) -> pa.Table:
        users = np.where(rng.random(n) < 0.5, 7, rng.integers(0, 10_000, n))
        times = pa.array(rng.integers(0, 1 << 45, n)).cast(pa.timestamp("us", tz="UTC"))
        return pa.table({"user_id": users, "event_timestamp": times, **columns})

    rows = table(**{name: rng.random(n) for name in VIEWS["user"]})
    pq.write_table(rows, folder / "user.parquet", row_group_size=1 << 17)
    labels = table(row=np.arange(n))
    for size in (16, n):
        pq.write_table(labels.slice(0, size), folder / f"entities-{size}.parquet")


def memory_of_skew(folder: Path, n: int) -> Case:
    """What one worker needs for all parts and ranges, with and without a bound.

    Sail finds the same as this process, which is checked.
    """
    make_skewed(folder, n)
    here, there = (
        training_set(folder, n, SCALARS, engine)
        for engine in ({"type": "local"}, spark_engine(BOUNDED))
    )
    assert there.equals(here), "Sail differs from this process where one key has half of all rows"
    source = local_files(folder / "user.parquet", "rows", ("event_timestamp",))
    asked = pl.read_parquet(folder / f"entities-{n}.parquet")
    labels = asked.select(k0="user_id", t=pl.col("event_timestamp").to_physical())
    for i, part in enumerate([*label_parts(labels, ["k0"]), *row_parts(source)]):
        (folder / f"{i}.part").write_bytes(pickle.dumps(part))
    rows = KeyRows(replace(source, files=()), ("user_id",), "event_timestamp", None)
    (folder / "tasks").write_bytes(pickle.dumps(ViewTasks(rows, (0, 1 << 45), AsOf())))
    grown = {bound: child_memory_mb("spark_store", folder, bound) for bound in (BOUNDED, UNBOUNDED)}
    case = f"a worker, half of {n:,} rows have one key"
    peers = {"without_bound": grown[UNBOUNDED]}
    return compared(case, "added memory", "MB", grown[BOUNDED], peers, {})


def one_worker(folder: Path, bound: int) -> None:
    """The tasks of all parts and ranges, one after the other; what they exchange lies on disk."""
    tasks: ViewTasks = pickle.loads((folder / "tasks").read_bytes())
    one_in = max(1, min(bound // 128, 1 << 14))

    def parts() -> Iterator[pa.RecordBatch]:
        for path in sorted(folder.glob("*.part")):
            yield pa.RecordBatch.from_pydict({"part": [path.read_bytes()]})

    sampled = [unpacked(b["payload"][0].as_py()) for b in tasks.sample(one_in)(parts())]
    edges = Edges.between(pl.concat(sampled), max(1, bound // 2 // one_in))
    for i, batch in enumerate(tasks.place(edges)(parts())):
        place = folder / str(bound) / str(batch[RANGE][0])
        place.mkdir(parents=True, exist_ok=True)
        (place / str(i)).write_bytes(pickle.dumps(batch))
    match = tasks.match()
    for place in (folder / str(bound)).iterdir():
        batches = [pickle.loads(path.read_bytes()) for path in place.iterdir()]
        match(pa.Table.from_batches(batches))


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON of DESIGN.md, section Benchmarks."""
    size = QUICK if quick else FULL
    n = size.entities[1]
    with tempfile.TemporaryDirectory(prefix="bench-spark-store-") as name:
        folder = Path(name)
        make_data(folder, size)
        training_set(folder, size.entities[0], REFS, spark_engine())  # starts Sail
        ours, seconds = measured(lambda: training_set(folder, n, REFS, spark_engine()))
        here, floor = measured(lambda: training_set(folder, n, REFS, {"type": "local"}))
        plain, peer = measured(lambda: plain_sql(folder, n))
        assert ours.equals(here), "Sail differs from this process"
        n_seen = n - here.column("which emb").to_numpy().tolist().count(-1)
        assert len(plain["vec"]) == n_seen, "plain SQL differs from this process"
        memory = memory_of_skew(folder, 20_000 if quick else 2_000_000)
    case = f"{n:,} labels, three views"
    found = [
        compared(case, m, "s", seconds[m], {"plain_sql": peer[m]}, {"this_process": floor[m]})
        for m in seconds
    ]
    return report("spark-store", [*found, memory], TARGETS, json_path)


if __name__ == "__main__":  # the child whose memory is measured
    _folder, _bound = sys.argv[1:]
    print(added_memory_mb(lambda: one_worker(Path(_folder), int(_bound))))
