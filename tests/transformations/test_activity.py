"""The five activity tables against loops over the raw log, and on logs whose answer is known."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.times import TIMESTAMP
from intake.dataset import Activity, Dataset, Interactions
from intake.versioned_tables import Items
from tests.oracles.activity import ActivityOracle, Row
from transformations import top_categories, user_lists
from transformations.activity import build_activity
from transformations.schema import ITEM_STATS, USER_EVENTS, USER_RECENT, USER_SNAPSHOTS, USER_STATS

SCHEMAS = {
    "item_stats": ITEM_STATS,
    "user_stats": USER_STATS,
    "user_recent": USER_RECENT,
    "user_events": USER_EVENTS,
    "user_snapshots": USER_SNAPSHOTS,
}
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
US = timedelta(microseconds=1)

# Few instants, around the edges of the windows, so that events tie and meet the edges exactly.
MOMENTS = [
    START + days * DAY + shift
    for days in (-20_000, 0, 1, 2, 3, 5)
    for shift in (timedelta(0), US, -US, timedelta(hours=7, milliseconds=1))
]
moments = st.sampled_from(MOMENTS)


@st.composite
def logs(draw: st.DrawFn) -> ActivityOracle:
    """Small logs with ties, repeats, null values and several versions of an item."""
    ids = draw(st.lists(st.sampled_from("abcdé"), min_size=1, unique=True))
    has_created = draw(st.booleans())
    has_brand = draw(st.booleans())
    names = st.lists(st.sampled_from(["x", "y", "z", "w", None]), max_size=4) | st.none()
    items: dict[Any, Row] = {}
    for item_id in ids:
        for version in range(draw(st.integers(1, 3))):
            row = {
                "item_id": item_id,
                "event_timestamp": draw(moments),
                "name": draw(st.sampled_from([f"{item_id}{version}", f"{item_id}'", None])),
                "tags": draw(names),
            }
            row |= {"created": draw(moments)} if has_created else {}
            row |= {"brand": draw(st.sampled_from(["x", "v", None]))} if has_brand else {}
            items.setdefault((item_id, row["event_timestamp"], row.get("created")), row)
    event = st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["1", "2", "10"]),
            "item_id": st.sampled_from(ids),
            "event_timestamp": moments,
            "positive": st.booleans(),
            "value": st.sampled_from([1.0, 2.5, 4.0, 1e6, None]),
        }
    )
    events = draw(st.lists(event, min_size=1, max_size=25))
    if draw(st.booleans()):
        order = draw(st.permutations(range(len(events))))
        events = [{**e, "event_id": f"e{n}"} for e, n in zip(events, order, strict=True)]
    if draw(st.booleans()):
        kinds = st.sampled_from(["rate", "view", None])
        events = [{**e, "event_type": draw(kinds)} for e in events]
    return ActivityOracle(
        items=list(items.values()),
        events=[{**e, "row": row} for row, e in enumerate(events)],
        title="name",
        categorical=["tags", "brand"] if has_brand else draw(st.sampled_from([["tags"], []])),
        history=draw(st.integers(1, 6)),
        snapshot_every=draw(st.integers(1, 4)),
        window_days=draw(st.sampled_from([(1, 2), (2, 5), (3, 20_001)])),
        categories=draw(st.integers(1, 4)),
    )


def item_table(rows: list[Row]) -> pa.Table:
    types = {
        "item_id": pa.string(),
        "event_timestamp": TIMESTAMP,
        "created": TIMESTAMP,
        "name": pa.string(),
        "tags": pa.list_(pa.string()),
        "brand": pa.string(),
    }
    fields = [(name, found) for name, found in types.items() if name in rows[0]]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def event_table(rows: list[Row]) -> pa.Table:
    types = {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "event_timestamp": TIMESTAMP,
        "positive": pa.bool_(),
        "value": pa.float64(),
        "event_id": pa.string(),
        "event_type": pa.string(),
    }
    fields = [(name, found) for name, found in types.items() if name in rows[0]]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def describe(log: ActivityOracle) -> Dataset:
    return Dataset(
        name="log",
        items=Items(path="i", title=log.title, text="{name}", categorical=tuple(log.categorical)),
        interactions=Interactions(path="x"),
        activity=Activity(
            history=log.history,
            snapshot_every=log.snapshot_every,
            window_days=log.window_days,
            categories=log.categories,
        ),
        path="d",
    )


def build(log: ActivityOracle) -> dict[str, pa.Table]:
    tables = build_activity(describe(log), item_table(log.items), event_table(log.events))
    return {t.name: pa.concat_tables([t.schema.empty_table(), *t.chunks]) for t in tables}


def assert_same(found: list[Row], expected: list[Row]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name] == near(value), (name, ours, theirs)


def near(value: Any) -> Any:
    """Floats within rounding (values are stored in float32 lists), NaN equal to NaN."""
    is_list_of_floats = isinstance(value, list) and any(isinstance(v, float) for v in value)
    if isinstance(value, float) or is_list_of_floats:
        return pytest.approx(value, rel=1e-6, abs=1e-6, nan_ok=True)
    return value


def check(log: ActivityOracle, name: str) -> None:
    assert_same(build(log)[name].to_pylist(), log.table(name))


@settings(max_examples=150)
@given(log=logs())
def test_each_table_equals_the_nested_loop(log: ActivityOracle) -> None:
    tables = build(log)
    assert list(tables) == list(SCHEMAS)
    for name, table in tables.items():
        assert table.schema == SCHEMAS[name]
        assert_same(table.to_pylist(), log.table(name))


@settings(max_examples=60)
@given(log=logs(), n_rows=st.integers(1, 3))
def test_small_chunks_change_nothing(log: ActivityOracle, n_rows: int) -> None:
    whole = build(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_lists, "CHUNK_ROWS", n_rows)
        patch.setattr(top_categories, "BLOCK_ROWS", n_rows)
        patch.setattr(top_categories, "BLOCK_CELLS", 3)
        assert same_tables(build(log), whole)


def same_tables(left: dict[str, pa.Table], right: dict[str, pa.Table]) -> bool:
    """Equal, with NaN equal to NaN."""
    return all(
        pl.DataFrame(left[name]).equals(pl.DataFrame(right[name]), null_equal=True)
        for name in right
    )


@settings(max_examples=60)
@given(log=logs(), until=moments)
def test_later_events_leave_every_row_as_it_is(log: ActivityOracle, until: datetime) -> None:
    past = [e for e in log.events if e["event_timestamp"] <= until]
    if not past:
        return
    whole = build(log)
    log.events = past
    for name, table in build(log).items():
        kept = [row for row in whole[name].to_pylist() if row["event_timestamp"] <= until + US]
        assert_same(table.to_pylist(), kept)


def one_user(*events: tuple[str, timedelta, bool], **options: Any) -> ActivityOracle:
    rows = [
        {
            "user_id": "u",
            "item_id": item_id,
            "event_timestamp": START + at,
            "positive": positive,
            "value": 4.0 if positive else 2.0,
            "row": row,
        }
        for row, (item_id, at, positive) in enumerate(events)
    ]
    items = [
        {"item_id": item_id, "event_timestamp": START, "name": item_id.upper(), "tags": ["t"]}
        for item_id in sorted({row["item_id"] for row in rows})
    ]
    defaults = {"history": 3, "snapshot_every": 2, "window_days": (1, 2), "categories": 5}
    return ActivityOracle(
        items=items, events=rows, title="name", categorical=["tags"], **{**defaults, **options}
    )


LOG = one_user(
    ("b", timedelta(0), True),
    ("a", timedelta(0), False),
    ("c", DAY, True),
    ("b", 2 * DAY, False),
    ("b", 2 * DAY, True),
)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("item_stats", {"in_window": lambda event, now, window: now - window <= event <= now}),
        ("user_stats", {"in_window": lambda event, now, window: now - window <= event <= now}),
        ("user_stats", {"in_window": lambda event, now, window: now - window < event < now}),
        ("item_stats", {"is_seen": lambda event, now: event < now}),
        ("user_stats", {"is_seen": lambda event, now: event < now}),
        ("user_recent", {"is_seen": lambda event, now: event < now}),
        ("user_snapshots", {"is_seen": lambda event, now: event < now}),
        ("user_recent", {"replay_key": lambda e: (e["event_timestamp"], e["row"])}),
        ("user_events", {"replay_key": lambda e: (e["event_timestamp"], e["row"])}),
        ("user_recent", {"replay_key": lambda e: (e["event_timestamp"], e["item_id"], -e["row"])}),
        ("user_snapshots", {"replay_key": lambda e: -e["row"]}),
        ("user_snapshots", {"passes": lambda before, after, every: after % every == 0}),
    ],
)
def test_the_oracle_catches_a_planted_bug(name: str, bug: dict[str, Any]) -> None:
    check(LOG, name)
    planted = ActivityOracle(**{**vars(LOG), **bug})
    with pytest.raises(AssertionError):
        check(planted, name)


def test_one_row_per_instant_just_after_it_with_all_its_events() -> None:
    recent = build(LOG)["user_recent"].to_pylist()
    assert [row["event_timestamp"] - START for row in recent] == [US, DAY + US, 2 * DAY + US]
    assert [row["item_ids"] for row in recent] == [["b", "a"], ["c", "b", "a"], ["b", "b", "c"]]
    assert recent[2]["positives"] == [1, 0, 1]
    assert recent[2]["ages_s"] == [0, 0, 86_400]


def test_a_snapshot_takes_each_item_once_by_its_newest_event() -> None:
    snapshots = build(LOG)["user_snapshots"].to_pylist()
    assert [row["liked"] for row in snapshots] == [["B"], ["B", "C"]]
    assert [row["disliked"] for row in snapshots] == [["A"], []]


def test_an_instant_that_passes_several_multiples_gives_one_snapshot() -> None:
    events = [(letter, timedelta(0), True) for letter in "abcde"]
    snapshots = build(one_user(*events, history=9))["user_snapshots"].to_pylist()
    assert [row["liked"] for row in snapshots] == [["E", "D", "C", "B", "A"]]


def test_titles_are_those_known_at_the_snapshot() -> None:
    log = one_user(("a", timedelta(0), True), ("b", 3 * DAY, True), ("b", 9 * DAY, True))
    log.snapshot_every = 1
    log.items = [
        {"item_id": "a", "event_timestamp": START, "name": "old", "tags": []},
        {"item_id": "a", "event_timestamp": START + 3 * DAY, "name": "new", "tags": []},
        {"item_id": "b", "event_timestamp": START + 5 * DAY, "name": "late", "tags": []},
        {"item_id": "b", "event_timestamp": START + 10 * DAY, "name": "unseen", "tags": []},
    ]
    liked = build(log)["user_snapshots"]["liked"].to_pylist()
    assert liked == [["old"], ["late", "new"], ["late", "new"]]


def test_a_version_created_later_is_not_known_before() -> None:
    log = one_user(("a", timedelta(0), True), ("a", 4 * DAY, True), snapshot_every=1)
    row = {"item_id": "a", "tags": []}
    log.items = [
        {**row, "event_timestamp": START, "created": START, "name": "first"},
        {**row, "event_timestamp": START, "created": START + 3 * DAY, "name": "corrected"},
        {**row, "event_timestamp": START - DAY, "created": START + 4 * DAY, "name": "outdated"},
    ]
    assert build(log)["user_snapshots"]["liked"].to_pylist() == [["first"], ["corrected"]]


def test_of_versions_that_become_known_together_the_newest_is_the_first() -> None:
    log = one_user(("a", timedelta(0), True), snapshot_every=1)
    row = {"item_id": "a", "tags": []}
    log.items = [
        {**row, "event_timestamp": START + DAY, "created": START, "name": "newer"},
        {**row, "event_timestamp": START, "created": START + DAY, "name": "older"},
    ]
    assert build(log)["user_snapshots"]["liked"].to_pylist() == [["newer"]]


def test_large_values_that_differ_little_keep_their_deviation() -> None:
    log = one_user(*(("a", n * DAY, True) for n in range(4)))
    for event, value in zip(log.events, [1e9, 1e9 + 1, 1e9 + 2, 1e9], strict=True):
        event["value"] = value
    std = build(log)["user_stats"]["user_value_std"].to_pylist()
    assert std == pytest.approx([0, 0.5, math.sqrt(2 / 3), math.sqrt(11 / 16)])


def test_a_log_without_values_has_null_means_and_nan_lists() -> None:
    log = one_user(("a", timedelta(0), True))
    log.events[0]["value"] = None
    tables = build(log)
    assert tables["user_stats"]["user_value_mean"].to_pylist() == [None]
    assert tables["user_stats"]["user_value_std"].to_pylist() == [None]
    assert math.isnan(tables["user_recent"]["values"][0].as_py()[0])


def test_a_title_that_is_a_list_is_refused_by_name() -> None:
    log = one_user(("a", timedelta(0), True))
    log.title = "tags"
    tables = iter(build_activity(describe(log), item_table(log.items), event_table(log.events)))
    with pytest.raises(SchemaError, match=r"column 'tags': got list.*expected text"):
        exhaust(tables)


def exhaust(tables: Iterator[Any]) -> None:
    for table in tables:
        for _ in table.chunks:
            pass
