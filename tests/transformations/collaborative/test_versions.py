"""Versions of item models: when they are fitted, what they may know, and what is read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transformations.collaborative.logs import random_log
from transformations.collaborative.histories import Events
from transformations.collaborative.neighbour_fit import build_item_neighbours
from transformations.collaborative.versions import ItemVersion, Versions, version_ends

EVERY, HISTORY = 120, 20


@pytest.fixture(scope="module")
def events() -> Events:
    return random_log(600, users=25, items=30)


def table_of(events: Events) -> pa.Table:
    return pa.concat_tables(build_item_neighbours(events, EVERY, HISTORY).chunks)


@given(times=st.lists(st.integers(0, 60), max_size=400), every=st.integers(60, 150))
def test_a_version_never_splits_an_instant_and_stays_when_events_come_later(
    times: list[int], every: int
) -> None:
    time = np.sort(np.array(times, dtype=np.int64))
    ends = version_ends(time, every)
    assert ends == sorted(set(ends))
    for end in ends:
        assert end == len(time) or time[end] > time[end - 1]
    for until in np.unique(time).tolist():
        early = time[time < until]
        assert version_ends(early, every) == [end for end in ends if end <= len(early)]
    assert len(ends) >= len(time) // every - 1 or len(np.unique(time)) < len(time) // every


def test_all_versions_of_a_long_log_cost_a_fixed_multiple_of_the_last() -> None:
    ends = version_ends(np.arange(3_000_000), 5_000)
    assert [end for end in ends if 5_000 <= end <= 100_000] == list(range(5_000, 100_001, 5_000))
    assert 19 * ends[-1] < sum(ends) < 22 * ends[-1]


def test_a_version_knows_nothing_from_its_stamp_on(events: Events) -> None:
    """Everything after a row is another log: rows of versions before it stay bit for bit."""
    rng = np.random.default_rng(1)
    table = table_of(events)
    stamps = np.unique(table["event_timestamp"].cast(pa.int64()).to_numpy())
    for stamp in stamps[1:-1].tolist():
        later = events.time >= stamp
        changed = replace(
            events,
            positive=np.where(later, rng.random(len(events)) < 0.5, events.positive),
            item=np.where(later, rng.integers(0, len(events.items), len(events)), events.item),
        )
        known = pc.less_equal(table["event_timestamp"].cast(pa.int64()), stamp)
        other = table_of(changed)
        same = pc.less_equal(other["event_timestamp"].cast(pa.int64()), stamp)
        assert table.filter(known).equals(other.filter(same))
    assert len(stamps) > 3


def test_what_is_written_is_read_back(events: Events, tmp_path: Path) -> None:
    path = tmp_path / "item_neighbours.parquet"
    table = table_of(events)
    pq.write_table(table, path)
    versions = Versions(path, events.items, ItemVersion)
    for place, stamp in enumerate(versions.stamps.tolist()):
        found = versions.read(place)
        assert found.stamp == stamp
        again = found.rows(events.items, np.flatnonzero(events.known_from <= stamp))
        assert again.equals(
            table.filter(pc.equal(table["event_timestamp"].cast(pa.int64()), stamp))
        )
    first = int(versions.stamps[0])
    assert versions.newest(first - 1).stamp == 0
    assert versions.newest(first).stamp == first
    assert versions.newest(first - 1).together.nnz == 0


def test_counts_and_rates_are_those_of_a_loop(events: Events, tmp_path: Path) -> None:
    path = tmp_path / "item_neighbours.parquet"
    pq.write_table(table_of(events), path)
    versions = Versions(path, events.items, ItemVersion)
    version = versions.read(len(versions.stamps) - 1)
    past = events.time < version.stamp
    mean = events.positive[past].mean()
    for item in range(len(events.items)):
        of_item = past & (events.item == item)
        liked = int(events.positive[of_item].sum())
        assert version.popularity[0, item] == pytest.approx(np.log1p(liked), rel=1e-6)
        rate = (liked + 5 * mean) / (of_item.sum() + 5)
        assert version.liked_rate[item] == pytest.approx(rate, rel=1e-6)


def test_an_item_without_a_code_is_left_out(events: Events) -> None:
    table = table_of(events)
    newest = table["event_timestamp"][-1]
    rows = table.filter(pc.equal(table["event_timestamp"], newest))
    few = type(events.items)(events.items.ids.slice(0, 10))
    whole, part = ItemVersion.of(rows, events.items), ItemVersion.of(rows, few)
    np.testing.assert_array_equal(part.together.toarray(), whole.together.toarray()[:10, :10])
    np.testing.assert_array_equal(part.popularity, whole.popularity[:, :10])
