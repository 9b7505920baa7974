"""One event at a time gives, to the last bit, the newest rows that the batch gives."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracles.activity import EPOCH, ActivityOracle, Row
from tests.transformations.test_activity import (
    DAY,
    START,
    build,
    describe,
    event_table,
    item_table,
    logs,
)
from transformations.categories import CategoryLookup
from transformations.event_log import sort_events
from transformations.item_versions import build_item_versions
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
    RunningUser,
)
from transformations.schema import ITEM_STATS, USER_RECENT, USER_STATS

ITEM = {"item_id": "a", "event_timestamp": START, "name": "A", "tags": ["x", "y"]}
EVENT = {"user_id": "1", "item_id": "a", "event_timestamp": START, "positive": True}
LOG = ActivityOracle(
    items=[ITEM],
    events=[{**EVENT, "value": 1.0, "row": 0}],
    title="name",
    categorical=["tags"],
    history=3,
    snapshot_every=2,
    window_days=(1, 5),
    categories=2,
)


def occurrences(log: ActivityOracle, key: str) -> dict[str, list[Occurrence]]:
    """Events by key in the order of the log, which `order` alone must not contradict."""
    events = event_table(log.events)
    names = build_item_versions(item_table(log.items)).ids.ids.to_pylist()
    found: dict[str, list[Occurrence]] = {}
    for row in sort_events(events, key).iter_rows(named=True):
        found.setdefault(row[key], []).append(
            Occurrence(
                time=(row["event_timestamp"] - EPOCH) // timedelta(microseconds=1),
                item=names.index(row["item_id"]),
                event_id=row.get("event_id") or "",
                positive=row["positive"],
                value=math.nan if row["value"] is None else row["value"],
                event_type=row.get("event_type"),
            )
        )
    return found


def newest(table: pa.Table, key: str) -> dict[str, Row]:
    return {row[key]: row for row in table.to_pylist()}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs or (ours != ours and theirs != theirs)


def running_rows(log: ActivityOracle) -> dict[str, dict[str, Row]]:
    dataset = describe(log)
    versions = build_item_versions(item_table(log.items))
    lookup = CategoryLookup(versions, dataset.items.categorical)
    rows: dict[str, dict[str, Row]] = {"item_stats": {}, "user_stats": {}, "user_recent": {}}
    for item_id, events in occurrences(log, "item_id").items():
        item = RunningStatistics(dataset.activity)
        for event in sorted(events, key=lambda each: each.order):
            item.add(event)
        rows["item_stats"][item_id] = dict(zip(ITEM_STATS.names[2:], item.row(), strict=True))
    for user_id, events in occurrences(log, "user_id").items():
        user = RunningUser(dataset.activity, lookup)
        for event in sorted(events, key=lambda each: each.order):
            user.add(event)
        rows["user_stats"][user_id] = dict(zip(USER_STATS.names[2:], user.row(), strict=True))
        items, values, *others = user.recent_row()
        stored = pa.array(values, pa.float32()).to_pylist()
        recent = [versions.ids.take(np.array(items, np.int64)).to_pylist(), stored, *others]
        rows["user_recent"][user_id] = dict(zip(USER_RECENT.names[2:], recent, strict=True))
    return rows


def assert_newest_rows(log: ActivityOracle) -> None:
    built = build(log)
    for name, rows in running_rows(log).items():
        expected = newest(built[name], "item_id" if name == "item_stats" else "user_id")
        assert rows.keys() == expected.keys()
        for key, row in rows.items():
            for column, value in row.items():
                assert same(value, expected[key][column]), (name, key, column)


@settings(max_examples=150)
@given(log=logs())
def test_the_running_rows_are_the_newest_of_the_batch(log: ActivityOracle) -> None:
    assert_newest_rows(log)


@settings(max_examples=60)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_sums_of_any_numbers_round_as_in_the_batch(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 20, len(values))
    events = [
        {**EVENT, "value": value, "event_timestamp": START + int(day) * DAY, "row": row}
        for row, (value, day) in enumerate(zip(values, days, strict=True))
    ]
    assert_newest_rows(replace(LOG, events=events))


@pytest.mark.parametrize("planted", ["_n_positive", "_total", "_squares", "_times"])
def test_a_planted_mistake_is_found(planted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add = RunningUser.add

    def wrong(self: RunningUser, event: Occurrence) -> None:
        add(self, event)
        if planted == "_times":
            self._times[-1] -= 1_000_000
        else:
            setattr(self, planted, getattr(self, planted) + 1)

    monkeypatch.setattr(RunningUser, "add", wrong)
    with pytest.raises(AssertionError, match="user_"):
        assert_newest_rows(LOG)


def test_interest_waits_for_an_item_with_a_vector() -> None:
    log = LOG
    versions = build_item_versions(item_table(log.items))
    vector = np.array([[0.6, 0.8]], dtype=np.float32)
    event = Occurrence(0, 0, "", True, 1.0, None)
    dataset = describe(log)
    with_vector = RunningInterest(dataset.interest_rule, versions, vector, np.array([True]))
    without = RunningInterest(dataset.interest_rule, versions, vector, np.array([False]))
    for running in (with_vector, without):
        running.add(event)
    assert without.state is None
    assert with_vector.state is not None
    np.testing.assert_allclose(with_vector.state, vector[0], atol=1e-6)
