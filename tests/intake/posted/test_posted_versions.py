"""Posted rows as versions: by a plain oracle, in any number of steps, also withdrawn ones."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.times import TIMESTAMP, from_micros
from intake.posted.posted_row import Change, PostedRow
from intake.posted.posted_versions import Withdrawn, fold_rows, withdrawn_items

SCHEMA = pa.schema(
    [("item_id", pa.string()), ("event_timestamp", TIMESTAMP), ("a", pa.int64()), ("b", pa.int64())]
)
OLD = {"item_id": "old", "event_timestamp": from_micros(10), "a": 1, "b": 1}
TABLE = pa.Table.from_pylist([OLD], SCHEMA)

Versions = list[tuple[str, datetime, int | None, int | None]]


def posted(
    change: Change, received: int, key: str = "old", time: int | None = None, **values: int | None
) -> PostedRow:
    at = received if time is None else time
    return PostedRow(f"{received}", "items", key, change, at, received, json.dumps(values))


def versions(table: pa.Table) -> Versions:
    return sorted(tuple(row.values()) for row in table.to_pylist())


def fold(*rows: PostedRow) -> tuple[Versions, Withdrawn, dict[str, int]]:
    found = fold_rows(TABLE, "items", rows, {})
    return versions(found.rows)[1:], found.withdrawn, dict(found.rejected)


def test_a_version_is_whole_and_a_change_keeps_the_rest() -> None:
    found, _, _ = fold(
        posted("put", 20, a=2), posted("patch", 30, b=3), posted("patch", 40, a=None)
    )
    assert found == [
        ("old", from_micros(20), 2, None),
        ("old", from_micros(30), 2, 3),
        ("old", from_micros(40), None, 3),
    ]


def test_what_says_nothing_new_makes_no_version() -> None:
    assert fold(posted("put", 20, a=1, b=1), posted("patch", 30, a=1)) == ([], {}, {})
    again, _, _ = fold(posted("put", 20, a=2), posted("put", 30, a=1, b=1), posted("put", 40, a=2))
    assert [row[2] for row in again] == [2, 1, 2]  # there and back again


def test_two_rows_of_one_instant_are_two_versions() -> None:
    found, _, _ = fold(posted("put", 20, time=10, a=5), posted("put", 21, time=10, a=6))
    assert found == [("old", from_micros(11), 5, None), ("old", from_micros(12), 6, None)]


def test_a_change_of_what_is_not_there_is_counted() -> None:
    rows = [posted("patch", 20, "other", a=1), posted("delete", 30), posted("patch", 40, a=1)]
    assert fold(*rows) == ([], {"old": [30]}, {"unknown item_id": 2})


def test_a_column_that_the_data_set_has_no_longer_ends_no_preparation() -> None:
    found, _, rejected = fold(posted("put", 20, a=2, gone=1), posted("put", 30, a=3))
    assert [row[2] for row in found] == [3]
    assert list(rejected.values()) == [1]


def test_an_item_is_gone_until_it_is_posted_again() -> None:
    folded = fold_rows(
        TABLE,
        "items",
        [posted("delete", 20), posted("delete", 25), posted("put", 30, a=1, b=1)],
        {},
    )
    gone = [bool(withdrawn_items(folded.rows, folded.withdrawn, at)) for at in (19, 20, 29, 30)]
    assert gone == [False, True, True, False]
    assert folded.withdrawn == {"old": [20]}
    assert len(folded.rows) == 2  # a version though it says what the one before said


@st.composite
def posts(draw: st.DrawFn) -> list[PostedRow]:
    n = draw(st.integers(0, 12))
    rows = []
    for at in range(n):
        change: Change = draw(st.sampled_from(["put", "patch", "delete"]))
        values: dict[str, Any] = draw(
            st.dictionaries(st.sampled_from("ab"), st.none() | st.integers(0, 2))
        )
        received = 100 + at
        early = draw(st.integers(1, received)) if change == "put" else received
        key = draw(st.sampled_from(["old", "new"]))
        rows.append(posted(change, received, key, early, **values))
    return rows


def naive(rows: Sequence[PostedRow]) -> tuple[Versions, Withdrawn]:
    """One row after the other, looking at all that is there."""
    have, gone = [dict(OLD)], Withdrawn()
    for row in rows:
        mine = [v for v in have if v["item_id"] == row.key]
        before = [v for v in mine if v["event_timestamp"] <= from_micros(row.time)]
        newest = sorted(before, key=lambda v: v["event_timestamp"])[-1:]
        left = [from_micros(at) for at in gone.get(row.key, []) if at <= row.time]
        if newest and left and newest[0]["event_timestamp"] <= max(left):
            newest = []
        if row.change == "delete":
            if newest:
                gone.setdefault(row.key, []).append(row.time)
            continue
        if row.change == "patch" and not newest:
            continue
        base = newest[0] if row.change == "patch" else {}
        values = {name: base.get(name) for name in "ab"} | json.loads(row.values)
        if newest and all(newest[0][name] == values[name] for name in "ab"):
            continue
        time = row.time
        while from_micros(time) in [v["event_timestamp"] for v in mine]:
            time += 1
        have.append({"item_id": row.key, "event_timestamp": from_micros(time), **values})
    return versions(pa.Table.from_pylist(have, SCHEMA)), gone


@given(posts(), st.integers(0, 12))
def test_rows_in_any_steps_are_what_a_plain_loop_makes_of_them(
    rows: list[PostedRow], cut: int
) -> None:
    first = fold_rows(TABLE, "items", rows[:cut], {})
    then = fold_rows(first.rows, "items", rows[cut:], first.withdrawn)
    assert (versions(then.rows), then.withdrawn) == naive(rows)
