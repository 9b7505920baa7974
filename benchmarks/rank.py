"""The service: ranking, recommending and taking events, beside reading the same rows by hand.

It needs the demo's workspace (`make demo`), or another that FUSION_DATASET and FUSION_HOME name.
The floor is redis-py: one pipelined HMGET of the same keys and fields of 500 items and the user,
nothing decoded, by as many callers at once. Ours and the floor take turns in one process.
`recommend` runs on a catalogue of 100,000 items, 60 shifted copies of each real item. HTTP goes to
a real `feast-fusion serve`, over connections that are kept.
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from feast import FeatureStore

from benchmarks.demo import measured_workspace
from benchmarks.http_load import (
    EVENT_CLIENTS,
    events_per_second,
    posting,
    served,
)
from benchmarks.large_catalogue import enlarge
from benchmarks.redis_floors import by_hand, commands_of
from benchmarks.report import Case, compared, report
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace
from serving.assembly import open_recommender
from serving.full_refresh import rewrite_online
from serving.recommender import Recommender
from transformations.names import INTERACTIONS, ITEMS, SERVICE

N_ITEMS = 500
N_CATALOGUE = 100_000
TARGET_EVENTS = 2_000
EVENTS_PER_REQUEST = 20
SHARES = (0.5, 0.01, 0.001)  # of the items that pass a filter
QUERIES = ("a horror film", "robots in space", "by Hitchcock, not violent")
TARGETS = (
    "rank: p50 at most the floor",
    "rank over HTTP: p50 at most 1.5 times the floor; recommend of 100,000: 1.2 times",
    "recommend under a filter: p50 at most 1.3 times that without one",
    "rank: p99 at most 3 times its own p50",
    f"events, one a request: at least {TARGET_EVENTS:,} acknowledged a second",
)

Call = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    catalogue: int
    seconds: float


FULL = Size(300, N_CATALOGUE, 15.0)
QUICK = Size(10, 2_000, 1.0)


def alternate(cases: dict[str, Call], rounds: int, callers: int = 1) -> dict[str, list[float]]:
    """Seconds of each call; `callers` threads make the calls of a case at the same time."""
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
    users = pl.read_parquet(workspace.source(INTERACTIONS), columns=["user_id"])
    return str(users["user_id"].value_counts(sort=True)["user_id"][0])


def measure(size: Size) -> list[Case]:
    workspace = measured_workspace()
    user = active_user(workspace)
    cases: list[Case] = []
    with redis_of(workspace) as address:
        store = open_store(workspace, address)
        with open_recommender(workspace, store) as recommender:
            items = _some_items(workspace)
            service = store.get_feature_service(SERVICE)
            floor = by_hand(address, commands_of(store, service, user, items))
            _warm(store, lambda: recommender.rank(user, items))
            for callers in (1, 8):
                calls = {"floor": floor, "rank": lambda: recommender.rank(user, items)}
                cases += _cases("rank", alternate(calls, size.rounds, callers), callers)
            online_store_of(store).disconnect()
            with served(workspace) as port:
                body = {"user_id": user, "item_ids": items}
                calls = {"floor": floor, "rank over HTTP": posting(port, "/rank", lambda: body)}
                cases += _cases("rank over HTTP", alternate(calls, size.rounds), 1)
    with tempfile.TemporaryDirectory(prefix="bench-rank-") as name:
        cases += measure_large(workspace, Path(name), user, size)
        cases += measure_events(workspace, Path(name) / "events", size)
    return cases


def measure_large(workspace: Workspace, folder: Path, user: str, size: Size) -> list[Case]:
    """`recommend` on a catalogue of 100,000 items, which is not the user's own."""
    large = enlarge(workspace, folder, size.catalogue)
    with redis_of(large) as address:
        store = _filled(large, address)
        with open_recommender(large, store) as recommender:
            name = "recommend of 100,000"
            answer = recommender.recommend(user)
            assert answer.n_candidates == N_ITEMS and not answer.degraded, answer
            service = store.get_feature_service(SERVICE)
            floor = by_hand(address, commands_of(store, service, user, _some_items(large)))
            _warm(store, lambda: recommender.recommend(user))
            calls = {"floor": floor, name: lambda: recommender.recommend(user)}
            cases = _cases(name, alternate(calls, size.rounds), 1)
            cases += measure_filtered(recommender, user, large, size)
            return cases + measure_queried(recommender, user, size)


def measure_filtered(
    recommender: Recommender, user: str, large: Workspace, size: Size
) -> list[Case]:
    """The same under filters that let less and less of the catalogue pass, beside no filter."""
    numbered = iter(range(10**9))
    calls: dict[str, Call] = {"unfiltered": lambda: recommender.recommend(user)}
    for share in SHARES:
        condition, passing = _condition(large, share)
        calls[f"{passing:.2%} pass"] = partial(recommender.recommend, user, filter=condition)
    calls[f"{passing:.2%} pass, a filter not seen before"] = lambda: recommender.recommend(
        user, filter=f"{condition}.{next(numbered)}"
    )
    return _beside("unfiltered", calls, size)


def measure_queried(recommender: Recommender, user: str, size: Size) -> list[Case]:
    """The same with queries, beside none; a text is encoded once."""
    calls: dict[str, Call] = {"no query": lambda: recommender.recommend(user)}
    for query in QUERIES:
        calls[f"query: {query}"] = partial(recommender.recommend, user, query=query)
    return _beside("no query", calls, size)


def _beside(reference: str, calls: dict[str, Call], size: Size) -> list[Case]:
    """The median of each call, beside that of one of them."""
    seconds = alternate(calls, size.rounds)
    p50 = {name: float(np.median(each)) * 1e3 for name, each in seconds.items()}
    other = {reference: p50.pop(reference)}
    return [
        compared(f"recommend of 100,000, {name}", "p50", "ms", ours, other, {})
        for name, ours in p50.items()
    ]


def _condition(large: Workspace, share: float) -> tuple[str, float]:
    """A filter that about this share of the items passes, and the share that does."""
    name = large.dataset.items.numeric[0]
    held = pl.read_parquet(large.source(ITEMS), columns=[name])[name]
    limit = int(held.quantile(share, "lower") or 0)
    return f"{name} <= {limit}", float((held <= limit).sum()) / len(held)


def measure_events(workspace: Workspace, home: Path, size: Size) -> list[Case]:
    """On a copy of the workspace, since these events never happened."""
    copy = Workspace(workspace.dataset, home)
    for part in ("sources", "sinks", "models"):
        shutil.copytree(workspace.root / part, copy.root / part)
    users = pl.read_parquet(copy.source(INTERACTIONS), columns=["user_id"])["user_id"]
    ids, items = users.unique().to_list(), _some_items(copy)
    cases = []
    with redis_of(copy) as address:
        online_store_of(_filled(copy, address)).disconnect()
        for n_processes in (1, 2):
            with served(copy, n_processes) as port:
                for n in (1, EVENTS_PER_REQUEST):
                    rate = events_per_second(port, ids, items, n, size.seconds)
                    cases.append(_event_case(n, n_processes, rate))
    return cases


def _event_case(n: int, n_processes: int, rate: float) -> Case:
    name = f"events by {EVENT_CLIENTS} clients, {n} a request, processes: {n_processes}"
    return compared(name, "acknowledged", "events/s", rate, {}, {"target": float(TARGET_EVENTS)})


def _filled(workspace: Workspace, address: str) -> FeatureStore:
    """The store with the newest rows online, without the minutes of `feast materialize`."""
    feast(workspace, address, "apply")
    store = open_store(workspace, address)
    rewrite_online(store, datetime.now(UTC))
    return store


def _some_items(workspace: Workspace) -> list[str]:
    items = pl.read_parquet(workspace.source(ITEMS), columns=["item_id"])["item_id"]
    ids = items.unique().sort().to_list()
    order = np.random.default_rng(1).permutation(len(ids))[:N_ITEMS]
    return [ids[at] for at in order.tolist()]


def _warm(store: FeatureStore, call: Call) -> None:
    """Let the item cache open and fill, as it is in a service that runs."""
    call()
    cached = online_store_of(store).cached_reads(store.config)
    if cached is not None:
        assert cached.wait_until_open(30)
    call()


def _cases(name: str, seconds: dict[str, list[float]], callers: int) -> list[Case]:
    suffix = "" if callers == 1 else f", {callers} callers"
    case = f"{name}, {N_ITEMS} candidates{suffix}"

    def compare(quantile: int) -> Case:
        ours, floor = (float(np.percentile(seconds[n], quantile)) * 1e3 for n in (name, "floor"))
        return compared(case, f"p{quantile}", "ms", ours, {}, {"redis-py": floor})

    return [compare(50), compare(99)]


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure, print a table, and write the JSON where a path is given."""
    return report("rank", measure(QUICK if quick else FULL), TARGETS, json_path)
