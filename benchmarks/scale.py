"""`bench scale`: how the cost of each stage grows with what it is given.

Processor seconds of one run at each size, in one process, and the exponent of a straight line
through their logarithms: 1 is in proportion. The data is made up: what matters is the number of
rows, and that few items have most of the events. docs/operate/scale.md reckons with the rates.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks import materialize, training_set
from benchmarks.report import Case, compared, report
from cli.embedded_redis import embedded_redis
from intake.workspace import open_workspace
from transformations.collaborative.histories import Events
from transformations.collaborative.neighbour_fit import NeighbourFit
from transformations.id_map import IdMap
from transformations.prepared_sources import write_sources

TARGETS = ("an exponent of at most 1.1",)
_EVENTS_PER_USER, _ITEMS = 30, 1_000
_DATASET = """\
name = "scale"
[items]
path = "items.parquet"
valid_from = "beginning"
title = "name"
text = "{name}. Kind: {kind}."
categorical = ["kind"]
[interactions]
path = "interactions.parquet"
"""


def run(json_path: str | Path | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure every stage at its sizes; print and return the cases."""
    cases: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name:
        folder = Path(name)
        stages: list[tuple[str, str, Sequence[int], Callable[[Path, int], float]]] = [
            ("labels", "training set", (1_000, 3_000) if quick else (10**5, 10**6, 10**7), _labels),
            ("rows", "materialize", (500, 1_000) if quick else (10**4, 10**5, 10**6), _rows),
            ("events", "prepare", (1_000, 2_000) if quick else (10**4, 10**5, 10**6), _events),
            ("users", "prepare, as many events", (20, 200) if quick else (10**3, 10**4, 10**5),
             _users),
            ("items", "prepare, as many events", (50, 500) if quick else (1_000, 10_000, 100_000),
             _items),
            ("items", "item models, ten events an item",
             (50, 500) if quick else (10_000, 30_000, 100_000), _item_models),
        ]  # fmt: skip
        for unit, what, sizes, measure in stages:
            seconds = {size: _curve(measure, folder, what, unit, size) for size in sizes}
            cases += _cases(what, unit, seconds)
    return report("scale", cases, TARGETS, json_path)


def _curve(
    measure: Callable[[Path, int], float], folder: Path, what: str, unit: str, size: int
) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        seconds = measure(Path(place), size)
    print(f"  {what:28}{size:>12,} {unit:8}{seconds:10.2f} s", flush=True)
    return seconds


def _cases(what: str, unit: str, seconds: dict[int, float]) -> list[Case]:
    sizes = np.log(list(seconds))
    exponent = float(np.polyfit(sizes, np.log(list(seconds.values())), 1)[0])
    largest = max(seconds)
    rate = largest / seconds[largest]
    name = f"{what}, {largest:,} {unit}"
    return [
        compared(name, "of one core", f"{unit}/s", rate, {}, {}),
        compared(f"{what} by {unit}", "exponent", "", exponent, {}, {}),
    ]


def _labels(folder: Path, n: int) -> float:
    """A training set of three views, one of them of vectors."""
    size = training_set.Size(20_000, 5_000, (n, n), (1, 1))
    training_set.make_data(folder, size)
    store = training_set.open_store(folder, training_set.OURS)
    path = str(folder / f"entities-{n}.parquet")
    features = training_set.FEATURES
    return _processor_s(lambda: store.get_historical_features(path, features).to_training_set())


def _rows(folder: Path, n: int) -> float:
    """Vectors of 384 numbers from Parquet to Redis."""
    materialize.make_data(folder, n)
    with embedded_redis(folder / "redis") as server:
        store = materialize.open_store(folder, "float16", n, server)
        return _processor_s(lambda: store.materialize(materialize.START, materialize.END))


def _events(folder: Path, n: int) -> float:
    return _prepare(folder, n_events=n, n_users=n // _EVENTS_PER_USER, n_items=_ITEMS)


def _users(folder: Path, n: int) -> float:
    return _prepare(folder, n_events=100_000, n_users=n, n_items=_ITEMS)


def _items(folder: Path, n: int) -> float:
    return _prepare(folder, n_events=20_000, n_users=600, n_items=n)


def _item_models(folder: Path, n: int) -> float:
    """The newest version; all versions together cost about twenty times as much."""
    events = _events_of(10 * n, 10 * n // _EVENTS_PER_USER, n)
    fit = NeighbourFit(events, [len(events)], history=50)
    return _processor_s(lambda: fit.version(len(events)))


def _events_of(n_events: int, n_users: int, n_items: int) -> Events:
    rng = np.random.default_rng(0)
    users, items = (IdMap.of([f"{k:09d}" for k in range(n)]) for n in (n_users, n_items))
    ones = np.ones(n_events, np.float32)
    return Events(
        users,
        items,
        user=rng.integers(0, n_users, n_events),
        item=_popular(rng, n_events, n_items),
        time=np.arange(n_events) * 10**6,
        positive=ones > 0,
        value=ones,
        weight=ones,
        known_from=np.zeros(n_items, np.int64),
    )


def _popular(rng: np.random.Generator, n_events: int, n_items: int) -> NDArray[np.int64]:
    """(n_events,) items, few of which have most of the events."""
    return (rng.pareto(1.0, n_events) * n_items / 20).astype(np.int64) % n_items


def _prepare(folder: Path, n_events: int, n_users: int, n_items: int) -> float:
    """All prepared sources of a log in which few items have most of the events."""
    rng = np.random.default_rng(0)
    every = np.arange(n_items)
    items = pl.DataFrame({"item_id": every}).select(
        pl.col("item_id").cast(pl.String),
        name=pl.format("Thing {}", "item_id"),
        kind=pl.format("kind {}", pl.col("item_id") % 40),
    )
    items.write_parquet(folder / "items.parquet")
    popular = _popular(rng, n_events, n_items)
    seconds = np.sort(rng.integers(0, 10**8, n_events)) + 1_500_000_000
    events = pl.DataFrame(
        {"user_id": rng.integers(0, n_users, n_events), "item_id": popular, "s": seconds}
    ).select(
        pl.col("user_id", "item_id").cast(pl.String),
        event_timestamp=pl.from_epoch("s", time_unit="s").dt.replace_time_zone("UTC"),
    )
    events.write_parquet(folder / "interactions.parquet")
    (folder / "dataset.toml").write_text(_DATASET, encoding="utf-8")
    workspace = open_workspace(folder / "dataset.toml", folder / "home")
    return _processor_s(lambda: write_sources(workspace))


def _processor_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
