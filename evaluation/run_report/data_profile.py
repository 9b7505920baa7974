"""What a data set is like: what was read of it, when its events were, and which items have them."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import numpy as np
import polars as pl

from evaluation.report.blocks import LineChart, Section, Series, Table
from feast_fusion.parquet.whole import read_parquet
from intake.dataset import Dataset
from intake.workspace import Workspace
from transformations.names import INTERACTIONS, ITEMS, USERS
from transformations.prepared_sources import SourcesReport

_PERIODS = 40  # of a chart over time
_SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # of the items


def profile_data(workspace: Workspace, found: SourcesReport) -> Iterator[Section]:
    """The sections on the data: what was read, events over time, the long tail, what is missing."""
    yield _read(found)
    path = workspace.source(INTERACTIONS)
    events = pl.DataFrame(read_parquet(path, ["item_id", "event_timestamp"]))
    yield _over_time(events["event_timestamp"])
    yield _long_tail(events["item_id"], _n_items(workspace))
    if rows := [*_missing(workspace)]:
        text = "Newest versions without a value, by column that is a feature."
        table = Table("", ("column", "rows", "missing"), tuple(rows))
        yield Section("What is missing", (text,), (table,))


def _read(found: SourcesReport) -> Section:
    rows = []
    for name, n_read in found.read.items():
        rejects = found.rejects.get(name, {})
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in rejects.items())
        rows.append((name, f"{n_read:,}", f"{sum(rejects.values()):,}", reasons))
    table = Table("", ("table", "rows read", "rejected", "for"), tuple(rows))
    return Section("What was read", tuple(found.notes), (table,))


def _over_time(times: pl.Series) -> Section:
    first, last = times.min(), times.max()
    assert isinstance(first, datetime) and isinstance(last, datetime)
    days = (last - first) / timedelta(days=1)
    at = (times - first).dt.total_microseconds().to_numpy() / 86_400e6
    counts, edges = np.histogram(at, bins=_PERIODS, range=(0.0, max(days, 1.0)))
    middles = (edges[:-1] + edges[1:]) / 2
    points = tuple(zip(middles.tolist(), counts.astype(float).tolist(), strict=True))
    text = f"{len(times):,} events from {first:%F} to {last:%F}."
    chart = LineChart(
        "Events over time", f"days since {first:%F}", "events a period", (Series("", points),)
    )
    return Section("When it happened", (text,), charts=(chart,))


def _long_tail(item_ids: pl.Series, n_items: int) -> Section:
    counts = item_ids.value_counts(sort=True)["count"].to_numpy()
    share = np.cumsum(counts) / counts.sum()
    points = [(0.0, 0.0)]
    for part in _SHARES:
        n = min(max(round(part * n_items), 1), len(share))
        points.append((part, float(share[n - 1])))
    tenth = dict(points)[0.1]
    text = (
        f"The most popular tenth of {n_items:,} items has {tenth:.0%} of the events; "
        f"{n_items - len(counts):,} items have none."
    )
    chart = LineChart(
        "The long tail",
        "share of the items, the most popular first",
        "share of the events",
        (Series("", tuple(points)),),
    )
    return Section("Which items", (text,), charts=(chart,))


def _missing(workspace: Workspace) -> Iterator[tuple[str, ...]]:
    for name, key, columns in _tables(workspace.dataset):
        if columns and workspace.source(name).is_file():
            versions = pl.DataFrame(
                read_parquet(workspace.source(name), [key, "event_timestamp", *columns])
            )
            newest = versions.sort("event_timestamp").unique(key, keep="last")
            for column in columns:
                missing = newest[column].null_count() / max(len(newest), 1)
                yield f"{name}: {column}", f"{len(newest):,}", f"{missing:.1%}"


def _tables(dataset: Dataset) -> Iterable[tuple[str, str, list[str]]]:
    items, users = dataset.items, dataset.users
    yield ITEMS, "item_id", [*items.numeric, *items.categorical]
    if users is not None:
        yield USERS, "user_id", [*users.numeric, *users.categorical]


def _n_items(workspace: Workspace) -> int:
    return int(pl.DataFrame(read_parquet(workspace.source(ITEMS), ["item_id"])).n_unique())
