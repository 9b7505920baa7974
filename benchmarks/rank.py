"""The service: ranking, recommending and taking events, beside reading the same rows by hand.

It needs the demo's workspace (`make demo`), or the one that FUSION_DATASET and FUSION_HOME name.
The floor is redis-py: one pipelined HMGET of the same 500 items' and the user's keys and fields,
nothing decoded, by as many callers at once; the two take turns in one process. `/recommend` runs
on a catalogue made of 60 shifted copies of each real item, so that there are 100,000. HTTP goes to
a real `feast-fusion serve`, over connections that are kept.
"""

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import redis

from cli.context import example_dataset
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace, open_workspace
from serving.assembly import open_recommender
from transformations.names import SERVICE

N_ITEMS = 500
N_CATALOGUE = 100_000
EVENT_CLIENTS = 8
EVENTS_PER_REQUEST = 20
# Of the floor at most, and of its own p50.
TARGETS = {"rank": 2.0, "rank over HTTP": 3.0, "recommend of 100,000": 3.0}
TARGET_P99 = 3.0
TARGET_EVENTS = 2_000

Call = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    catalogue: int
    seconds: float


FULL = Size(300, N_CATALOGUE, 15.0)
QUICK = Size(10, 2_000, 1.0)


def measured_workspace() -> Workspace:
    """The workspace that the environment names, else the demo's."""
    home = os.environ.get("FUSION_HOME", ".fusion")
    workspace = open_workspace(os.environ.get("FUSION_DATASET") or example_dataset(), home)
    if not workspace.artifact.is_dir():
        raise FeatureNotFoundError(
            f"{workspace.artifact}: got no such folder, expected a trained workspace. Run "
            "make demo, or name another by FUSION_DATASET and FUSION_HOME."
        )
    return workspace


def enlarge(workspace: Workspace, home: Path, n: int) -> Workspace:
    """The workspace with at least `n` items: shifted copies of each, with its newest statistics."""
    large = Workspace(workspace.dataset, home)
    shutil.copytree(workspace.sources, large.sources)
    shutil.copytree(workspace.artifact, large.artifact)
    shutil.copytree(workspace.sinks, large.sinks)
    (sink,) = large.sinks.glob("item_embedding__*")
    for path in (large.sources / "items.parquet", large.sources / "item_stats.parquet", sink):
        schema, rows = ds.dataset(path, format="parquet").schema, _newest(path)
        rows = _copy_items(rows, -(-n // len(rows)))
        if path == sink:
            rows = _shifted(rows)
            shutil.rmtree(sink)
            sink.mkdir()
            path = sink / "all.parquet"
        pq.write_table(rows.to_arrow().cast(schema), path)
    return large


def _shifted(rows: pl.DataFrame) -> pl.DataFrame:
    """Each vector moved by a little noise: copies are near to each other, not the same."""
    matrix = np.stack(list(rows["item_embedding"].to_numpy())).astype(np.float32)
    matrix += 0.03 * np.random.default_rng(0).standard_normal(matrix.shape, dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return rows.with_columns(pl.Series("item_embedding", list(matrix), pl.List(pl.Float32)))


def _newest(path: Path) -> pl.DataFrame:
    rows = pl.DataFrame(ds.dataset(path, format="parquet").to_table())
    return rows.sort("event_timestamp").unique("item_id", keep="last", maintain_order=True)


def _copy_items(rows: pl.DataFrame, copies: int) -> pl.DataFrame:
    def named(copy: int) -> pl.Expr:
        return pl.col("item_id") if copy == 0 else pl.col("item_id") + f"~{copy}"

    return pl.concat([rows.with_columns(named(copy)) for copy in range(copies)])


def by_hand(address: str, commands: list[tuple[bytes, list[bytes]]]) -> Call:
    """The floor."""
    host, port = address.split(",")[0].split(":")
    client = redis.Redis(host, int(port))

    def read() -> Any:
        with client.pipeline(transaction=False) as pipe:
            for key, fields in commands:
                pipe.hmget(key, fields)
            return pipe.execute()

    return read


def commands_of(store: Any, user_id: str, items: list[str]) -> list[tuple[bytes, list[bytes]]]:
    plan = online_store_of(store).read_plan(
        store.config, store.registry, store.get_feature_service(SERVICE), full_feature_names=True
    )
    ids = {"user_id": [user_id], "item_id": items}
    return [
        (key, group.fields)
        for group in plan.groups
        for key in encode_keys(
            group.join_keys, [ids[group.requested[0]]], group.types, store.project
        )
    ]


def alternate(cases: dict[str, Call], rounds: int, callers: int = 1) -> dict[str, list[float]]:
    """Seconds of each call; `callers` threads make the same case's calls at the same time."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for call in cases.values():
        _together(call, callers, 3, [])
    for _ in range(max(1, rounds // 10)):
        for name, call in cases.items():
            _together(call, callers, 10, seconds[name])
    return seconds


def _together(call: Call, callers: int, times: int, into: list[float]) -> None:
    """`times` calls by each of `callers` threads, which begin at the same moment."""
    ready = threading.Barrier(callers)

    def work() -> None:
        ready.wait()
        for _ in range(times):
            started = time.perf_counter()
            call()
            into.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def active_user(workspace: Workspace) -> str:
    """The user with the most events."""
    users = pl.read_parquet(workspace.sources / "interactions.parquet", columns=["user_id"])
    return str(users["user_id"].value_counts(sort=True)["user_id"][0])


@contextmanager
def served(workspace: Workspace) -> Iterator[int]:
    """The port of a `feast-fusion serve` of this workspace."""
    command = [str(Path(sys.executable).parent / "feast-fusion"), "serve", "--port", "0"]
    command += ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    process = subprocess.Popen(
        [*command, "--no-log-requests"], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(r"http://[^:]+:(\d+)", line)
            if found:
                break
        else:
            raise RuntimeError(f"feast-fusion serve ended with exit code {process.wait()}")
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
        process.stdout.close()


def posting(port: int, path: str, body: Callable[[], dict[str, Any]]) -> Call:
    """A call that posts over a connection of its own, and checks the status."""
    local = threading.local()

    def post() -> Any:
        if not hasattr(local, "connection"):
            local.connection = http.client.HTTPConnection("127.0.0.1", port)
        local.connection.request(
            "POST", path, json.dumps(body()), {"Content-Type": "application/json"}
        )
        answer = local.connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 202), (answer.status, content[:500])
        return json.loads(content)

    return post


def events_per_second(port: int, users: list[str], items: list[str], seconds: float) -> float:
    """Acknowledged events per second, posted by 8 clients for so long."""
    rng = np.random.default_rng(0)

    def body() -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            "events": [
                {
                    "event_id": uuid.uuid4().hex,
                    "user_id": users[rng.integers(len(users))],
                    "item_id": items[rng.integers(len(items))],
                    "event_timestamp": now,
                    "value": 4.0,
                }
                for _ in range(EVENTS_PER_REQUEST)
            ]
        }

    post, counts = posting(port, "/events", body), [0] * EVENT_CLIENTS
    end = time.perf_counter() + seconds

    def work(client: int) -> None:
        while time.perf_counter() < end:
            answer = post()
            counts[client] += sum(each["status"] == "accepted" for each in answer["outcomes"])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(EVENT_CLIENTS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def fill_online(store: Any) -> None:
    """The newest row of every entity of every view, without the minutes of `feast materialize`."""
    online = online_store_of(store)
    views = [*store.list_feature_views(), *store.list_batch_feature_views()]
    for view in {view.name: view for view in views if view.online}.values():
        key = view.join_keys[0]
        table = ds.dataset(view.batch_source.path, format="parquet").to_table()
        at = pa.array(np.arange(len(table)))
        order = pl.DataFrame({"key": pl.Series(table[key]), "at": pl.Series(at)}).with_columns(
            time=pl.Series(table["event_timestamp"])
        )
        newest = order.sort("time", maintain_order=True).unique("key", keep="last")["at"].to_numpy()
        online.write_table(store.config, view, table.take(newest))


def measure(size: Size) -> list[dict[str, Any]]:
    workspace = measured_workspace()
    user = active_user(workspace)
    cases: list[dict[str, Any]] = []
    with redis_of(workspace) as address:
        store = open_store(workspace, address)
        with open_recommender(workspace, store, SERVICE) as recommender:
            items = _some_items(workspace)
            floor = by_hand(address, commands_of(store, user, items))
            _warm(store, lambda: recommender.rank(user, items))
            for callers in (1, 8):
                calls = {"floor": floor, "rank": lambda: recommender.rank(user, items)}
                cases += _cases("rank", alternate(calls, size.rounds, callers), callers)
            online_store_of(store).disconnect()
            os.environ["REDIS_URL"] = f"redis://{address.split(',')[0]}/0"
            with served(workspace) as port:
                body = {"user_id": user, "item_ids": items}
                calls = {"floor": floor, "rank over HTTP": posting(port, "/rank", lambda: body)}
                cases += _cases("rank over HTTP", alternate(calls, size.rounds), 1)
            del os.environ["REDIS_URL"]
        with tempfile.TemporaryDirectory(prefix="bench-rank-") as name:
            cases += measure_large(workspace, Path(name), user, size)
    return cases


def measure_large(
    workspace: Workspace, folder: Path, user: str, size: Size
) -> list[dict[str, Any]]:
    """`recommend` and events on a catalogue of 100,000 items, which is not the user's own."""
    large = enlarge(workspace, folder, size.catalogue)
    with redis_of(large) as address:
        feast(large, address, "apply")
        store = open_store(large, address)
        fill_online(store)
        with open_recommender(large, store, SERVICE) as recommender:
            name = "recommend of 100,000"
            answer = recommender.recommend(user)
            assert answer.n_candidates == N_ITEMS and not answer.degraded, answer
            floor = by_hand(address, commands_of(store, user, _some_items(large)))
            _warm(store, lambda: recommender.recommend(user))
            calls = {"floor": floor, name: lambda: recommender.recommend(user)}
            cases = _cases(name, alternate(calls, size.rounds), 1)
        online_store_of(store).disconnect()
    (large.root / "redis" / "dump.rdb").unlink(missing_ok=True)
    return [*cases, measure_events(workspace, folder / "events", size)]


def measure_events(workspace: Workspace, home: Path, size: Size) -> dict[str, Any]:
    """On a copy of the workspace, since these events never happened."""
    copy = Workspace(workspace.dataset, home)
    for part in ("sources", "sinks", "artifact"):
        shutil.copytree(workspace.root / part, copy.root / part)
    users = pl.read_parquet(copy.sources / "interactions.parquet", columns=["user_id"])["user_id"]
    with redis_of(copy) as address:
        feast(copy, address, "apply")
        store = open_store(copy, address)
        fill_online(store)
        online_store_of(store).disconnect()
        os.environ["REDIS_URL"] = f"redis://{address.split(',')[0]}/0"
        with served(copy) as port:
            rate = events_per_second(
                port, users.unique().to_list(), _some_items(copy), size.seconds
            )
        del os.environ["REDIS_URL"]
    return {
        "case": f"events by {EVENT_CLIENTS} clients, {EVENTS_PER_REQUEST} a request",
        "metric": "acknowledged",
        "unit": "events/s",
        "ours": rate,
        "peers": {},
        "floor": float(TARGET_EVENTS),
        "ratios": {"target": rate / TARGET_EVENTS},
    }


def _some_items(workspace: Workspace) -> list[str]:
    items = pl.read_parquet(workspace.sources / "items.parquet", columns=["item_id"])["item_id"]
    ids = items.unique().sort().to_list()
    order = np.random.default_rng(1).permutation(len(ids))[:N_ITEMS]
    return [ids[at] for at in order.tolist()]


def _warm(store: Any, call: Call) -> None:
    """Let the item cache open and fill, as it is in a service that runs."""
    call()
    cached = online_store_of(store).cached_reads(store.config)
    if cached is not None:
        assert cached.wait_until_open(30)
    call()


def _cases(name: str, seconds: dict[str, list[float]], callers: int) -> list[dict[str, Any]]:
    ms = {n: np.array(taken) * 1000 for n, taken in seconds.items()}
    suffix = "" if callers == 1 else f", {callers} callers"
    print(f"  {name}{suffix}: {np.median(ms[name]):.2f} ms, floor {np.median(ms['floor']):.2f} ms")
    return [
        {
            "case": f"{name}, {N_ITEMS} candidates{suffix}",
            "metric": f"p{quantile}",
            "unit": "ms",
            "ours": float(np.percentile(ms[name], quantile)),
            "peers": {},
            "floor": float(np.percentile(ms["floor"], quantile)),
            "ratios": {
                "redis-py": float(
                    np.percentile(ms["floor"], quantile) / np.percentile(ms[name], quantile)
                )
            },
        }
        for quantile in (50, 99)
    ]


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON of DESIGN.md, section Benchmarks."""
    result = {
        "name": "rank",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "cases": measure(QUICK if quick else FULL),
    }
    print_table(result)
    if json_path is not None:
        Path(json_path).parent.mkdir(parents=True, exist_ok=True)
        Path(json_path).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def print_table(result: dict[str, Any]) -> None:
    print(f"\n{result['name']} on {result['machine']}")
    print(f"{'case':52}{'metric':14}{'ours':>10}{'floor':>10}{'of floor':>10}")
    for case in result["cases"]:
        share = case["ours"] / case["floor"]
        numbers = f"{case['ours']:10.2f}{case['floor']:10.2f}{share:10.2f}"
        print(f"{case['case']:52}{case['metric']:14}{numbers}")
    for name, share in TARGETS.items():
        print(f"target of {name}: p50 at most {share} of the floor")
    print(f"target of rank: p99 at most {TARGET_P99} of its own p50")
    print(f"target of events: at least {TARGET_EVENTS:,} acknowledged a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    run(arguments.json, arguments.quick)


if __name__ == "__main__":
    main()
