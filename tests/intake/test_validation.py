"""Dirty input: each defect has its reason or message, and nothing else is lost."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.times import TIMESTAMP
from intake.time_readings import ColumnOf
from intake.timestamps import parse_times
from intake.validation import validate_dataset
from tests.intake.data_files import (
    IMPLICIT,
    NOW,
    THEN,
    TOML,
    Columns,
    Files,
    good_interactions,
    times,
)

COLUMN = ColumnOf("t", "file: t", "interactions")


def test_clean_files_lose_nothing(files: Files) -> None:
    data = files.validate()
    assert data.report.read == {"items": 3, "users": 2, "interactions": 3}
    assert data.report.rejects == {"items": {}, "users": {}, "interactions": {}}
    assert data.report.users_without_profile == 1
    assert data.report.valid_until is None
    assert data.items.schema.field("year").type == pa.int64()
    assert data.users is not None and data.users["age"].to_pylist() == [20, 30]
    assert data.interactions["positive"].to_pylist() == [True, False, True]
    assert data.interactions["event_timestamp"].type == TIMESTAMP
    assert all(files.rejects(name) == [] for name in data.report.read)


def test_the_users_table_is_optional(files: Files) -> None:
    files.validate()
    files.toml = TOML.replace('[users]\npath = "users.parquet"\nnumeric = ["age"]\n', "")
    assert files.validate().users is None
    assert not (files.folder / "rejects" / "users.parquet").exists()


EXTRA_INTERACTION: dict[str, Columns] = {
    "null user_id": {"user_id": None},
    "empty user_id": {"user_id": ""},
    "null item_id": {"item_id": None},
    "unknown item_id": {"item_id": "z"},
    "null event_timestamp": {"event_timestamp": None},
    "event_timestamp in the future": {"event_timestamp": NOW + timedelta(microseconds=1)},
    "null value": {"value": None},
    "infinite value": {"value": float("-inf")},
    "duplicate": {},
}


@pytest.mark.parametrize("reason", EXTRA_INTERACTION)
def test_a_bad_interaction_leaves_with_its_reason_and_all_its_columns(
    files: Files, reason: str
) -> None:
    row = {"user_id": "1", "item_id": "a", "event_timestamp": THEN, "value": 4.0}
    row |= EXTRA_INTERACTION[reason]
    table = pa.table(good_interactions())
    table = pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)])
    files.interactions = {**dict(zip(table.column_names, table.columns, strict=True))}
    files.interactions["note"] = ["p", "q", "r", "p"]
    data = files.validate()
    assert data.report.rejects["interactions"] == {reason: 1}
    assert data.interactions["user_id"].to_pylist() == ["1", "2", "3"]
    expected = {**row, "note": "p", "row": 3, "reason": reason}
    assert files.rejects("interactions") == [expected]


def test_a_nan_value_is_a_null_value(files: Files) -> None:
    files.interactions["value"] = [4.0, float("nan"), 3.0]
    assert files.validate().report.rejects["interactions"] == {"null value": 1}


def test_a_null_value_stays_where_positive_does_not_need_it(files: Files) -> None:
    files.toml = TOML.replace("value >= 4", "event_type = 'buy' OR value >= 4")
    files.interactions |= {"value": [None, None, 3.0], "event_type": ["buy", "view", "rate"]}
    data = files.validate()
    assert data.interactions["positive"].to_pylist() == [True, False]
    assert data.interactions["value"].to_pylist() == [None, 3.0]
    assert data.interactions["event_type"].to_pylist() == ["buy", "rate"]
    assert data.report.rejects["interactions"] == {"null value": 1}


def test_implicit_data_needs_no_value_and_is_all_positive(files: Files) -> None:
    files.toml = IMPLICIT
    del files.interactions["value"]
    data = files.validate()
    assert data.interactions["positive"].to_pylist() == [True, True, True]
    assert data.interactions["value"].null_count == 3


@pytest.mark.parametrize("name", ["items", "users"])
def test_bad_rows_of_items_and_users_leave_too(files: Files, name: str) -> None:
    key = name.removesuffix("s") + "_id"
    soon = NOW + timedelta(days=1)
    good = getattr(files, name)
    n = len(good[key])
    spoiled: Columns = {
        column: [*values, *values[:1] * 4]
        for column, values in ((c, list(v)) for c, v in good.items() if c != "event_timestamp")
    }
    spoiled[key] = [*good[key], good[key][0], good[key][0], None, good[key][0]]
    spoiled["event_timestamp"] = times(*[THEN] * n, soon, THEN, THEN, None)
    setattr(files, name, spoiled)
    data = files.validate()
    assert data.report.rejects[name] == {
        f"null {key}": 1,
        "null event_timestamp": 1,
        "event_timestamp in the future": 1,
        "duplicate": 1,
    }
    assert [row["row"] for row in files.rejects(name)] == [n, n + 1, n + 2, n + 3]
    kept = {"items": data.items, "users": data.users}[name]
    assert kept is not None and kept[key].to_pylist() == good[key]
    assert data.report.valid_until == soon
    assert len(data.interactions) == 3


def test_versions_and_corrections_of_an_item_are_no_duplicates(files: Files) -> None:
    later = THEN + timedelta(days=1)
    files.items = {
        "item_id": ["a", "a", "a", "a", "b", "c"],
        "event_timestamp": times(THEN, later, later, later, THEN, THEN),
        "created": times(THEN, later, NOW, NOW, THEN, THEN),
        "title": list("ABCCEF"),
        "year": [1] * 6,
        "genres": [["x"]] * 6,
    }
    data = files.validate()
    assert data.items["title"].to_pylist() == ["A", "B", "C", "E", "F"]
    assert data.items["created"].type == TIMESTAMP
    assert data.report.rejects["items"] == {"duplicate": 1}


def test_a_rejected_item_is_unknown(files: Files) -> None:
    files.items["event_timestamp"] = times(THEN, THEN, None)
    data = files.validate()
    assert data.report.rejects["items"] == {"null event_timestamp": 1}
    assert data.report.rejects["interactions"] == {"unknown item_id": 1}


@pytest.mark.parametrize(
    ("event_id", "kept"),
    [
        (["x", "x", "y", "z"], ["1", "1", "2"]),
        (["x", "y", "z", "w"], ["1", "2", "1", "2"]),
        # without an id, equal in every column: rows 0 and 2 are, row 3 has another value
        ([None, None, None, None], ["1", "2", "2"]),
        ([None, "y", None, "y"], ["1", "2"]),
    ],
)
def test_duplicates_are_told_by_event_id_or_else_by_all_columns(
    files: Files, event_id: list[str | None], kept: list[str]
) -> None:
    files.toml = IMPLICIT
    files.interactions = {
        "user_id": ["1", "2", "1", "2"],
        "item_id": ["a", "a", "a", "a"],
        "event_timestamp": times(THEN, THEN, THEN, THEN),
        "value": [4.0, 4.0, 4.0, 5.0],
        "event_id": pa.array(event_id, pa.string()),
    }
    data = files.validate()
    assert data.interactions["user_id"].to_pylist() == kept
    assert data.report.rejects["interactions"].get("duplicate", 0) == 4 - len(kept)


def test_rows_equal_but_for_another_column_are_two_events(files: Files) -> None:
    files.toml = IMPLICIT
    files.interactions = {name: [v[0]] * 3 for name, v in good_interactions().items()}
    files.interactions["basket"] = [[1], [2], [2]]
    assert len(files.validate().interactions) == 2


def test_keys_may_be_integers_or_dictionaries(files: Files) -> None:
    files.items["item_id"] = pa.array([7, 8, 9], pa.uint16())
    files.interactions["item_id"] = [7, 8, 9]
    files.interactions["user_id"] = pa.array(["1", "2", "3"]).dictionary_encode()
    data = files.validate()
    assert data.items["item_id"].to_pylist() == ["7", "8", "9"]
    assert data.interactions["item_id"].to_pylist() == ["7", "8", "9"]
    assert data.interactions["user_id"].type == pa.string()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_any_unit_and_zone_becomes_microseconds_in_utc(files: Files, unit: str) -> None:
    moments = [THEN, THEN, datetime(1901, 1, 1, tzinfo=UTC)]
    zoned = times(*moments).cast(pa.timestamp(unit, "Asia/Shanghai"))
    files.interactions["event_timestamp"] = zoned
    assert files.validate().interactions["event_timestamp"].to_pylist() == moments


def test_a_naive_file_stops_with_the_reason_and_keeps_its_rejects(files: Files) -> None:
    files.interactions["event_timestamp"] = [datetime(2024, 1, 1)] * 3
    with pytest.raises(SchemaError, match=r"no row is left.*without zone': 3.*Asia/Shanghai") as e:
        files.validate()
    assert "interactions.parquet" in str(e.value)
    assert len(files.rejects("interactions")) == 3


def test_timestamps_as_text_are_read_row_by_row(files: Files) -> None:
    good = ["2024-01-01T08:00:00+08:00", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00.000000000Z"]
    bad = ["2024-01-01T00:00:00", "yesterday", "2024-02-30T00:00:00Z", None, "2024-07-01T00:00Z"]
    files.toml = IMPLICIT
    files.interactions = {
        "user_id": list("12345678"),
        "item_id": ["a"] * 8,
        "event_timestamp": [*good, *bad],
        "value": [4] * 8,
    }
    data = files.validate()
    assert data.interactions["event_timestamp"].to_pylist() == [THEN] * 3
    assert data.report.rejects["interactions"] == {
        "null event_timestamp": 1,
        "unparsable event_timestamp": 2,
        "event_timestamp without zone": 1,
        "event_timestamp in the future": 1,
    }


aware = st.datetimes(
    datetime(1700, 1, 2),
    datetime(2199, 12, 30),
    timezones=st.timezones(),
)


@given(when=st.lists(aware, min_size=1))
def test_every_iso_string_of_python_is_parsed(when: list[datetime]) -> None:
    # zones of the 19th century have offsets with seconds, which ISO 8601 has not
    whole = [
        each
        for each in when
        if (each.utcoffset() or timedelta()) % timedelta(minutes=1) == timedelta()
    ]
    text = [each.isoformat() for each in whole]
    parsed = parse_times(pa.chunked_array([pa.array(text, pa.string())]), COLUMN, NOW)
    assert not any(bad.any() for bad in parsed.defects.values())
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert parsed.time.tolist() == [(w - epoch) // timedelta(microseconds=1) for w in whole]


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_time_that_no_clock_shows_is_out_of_range(unit: str) -> None:
    column = pa.chunked_array([pa.array([2**62, 0, None, -(2**57)], pa.timestamp(unit, "UTC"))])
    parsed = parse_times(column, COLUMN, NOW)
    assert parsed.defects["t out of range"].tolist() == [True, False, False, True]
    assert parsed.defects["null t"].tolist() == [False, False, True, False]
    assert not np.any(parsed.time)


def drop(name: str, column: str) -> Callable[[Files], None]:
    return lambda files: getattr(files, name).pop(column)


def put(name: str, column: str, values: Any) -> Callable[[Files], None]:
    return lambda files: getattr(files, name).update({column: values})


def positive(expression: str) -> Callable[[Files], None]:
    def spoil(files: Files) -> None:
        files.toml = TOML.replace("value >= 4", expression)

    return spoil


STOPS: dict[str, tuple[Callable[[Files], Any], str]] = {
    "no key": (drop("items", "item_id"), r"items.parquet: missing columns \['item_id'\]: got"),
    "no time": (drop("users", "event_timestamp"), r"users.parquet: missing columns"),
    "no item of an event": (drop("interactions", "item_id"), r"missing columns \['item_id'\]"),
    "no column of the text": (drop("items", "genres"), r"missing columns \['genres'\].*dataset"),
    "fractional key": (
        put("interactions", "user_id", [1.0, 2.0, 3.0]),
        r"interactions.parquet: column 'user_id': got double, such as 1.0, expected strings or int",
    ),
    "time as a number": (
        put("interactions", "event_timestamp", [1, 2, 3]),
        r"column 'event_timestamp': got int64, such as 1, expected a timestamp.*no time",
    ),
    "value as text": (
        put("interactions", "value", ["1", "2", "many"]),
        r"'value': got string, such as 'many'",
    ),
    "feature of a wrong type": (
        put("users", "age", ["young", "old"]),
        r"users.parquet: column 'age': got string, such as 'young', expected double",
    ),
    "all events unknown": (
        put("interactions", "item_id", ["x", "y", "z"]),
        r"no row is left: got 3 rows, rejected for \{'unknown item_id': 3\}",
    ),
    "no events": (
        lambda files: setattr(
            files,
            "interactions",
            pa.table(good_interactions()).slice(0, 0).to_pydict()
            | {
                "event_timestamp": times(),
                "user_id": pa.array([], pa.string()),
                "item_id": pa.array([], pa.string()),
                "value": pa.array([], pa.float64()),
            },
        ),
        r"no row is left: got 0 rows",
    ),
    "positive of no column": (positive("rating >= 4"), r"'rating >= 4'.*columns \['user_id', 'ite"),
    "positive that is no SQL": (positive("value >=>"), r"positive = 'value >=>'.*cannot be eval"),
    "positive that is a number": (positive("value + 1"), r"values of type Float64.*true or false"),
    "positive over the file": (positive("value > AVG(value)"), r"depends on other rows.*future"),
}


@pytest.mark.parametrize("case", STOPS)
def test_a_file_that_cannot_be_used_stops_with_its_name_and_the_remedy(
    files: Files, case: str
) -> None:
    spoil, message = STOPS[case]
    spoil(files)
    with pytest.raises(SchemaError, match=message):
        files.validate()


def test_a_truncated_file_is_named(files: Files) -> None:
    dataset = files.dataset()
    path = dataset.interactions.path
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SchemaError, match=r"interactions.parquet: got a file that cannot be read"):
        validate_dataset(dataset, files.folder / "rejects", now=NOW)


def test_a_file_with_a_damaged_page_is_named(files: Files) -> None:
    dataset = files.dataset()
    path = dataset.items.path
    whole = bytearray(path.read_bytes())
    whole[4:120] = b"\xff" * 116
    path.write_bytes(bytes(whole))
    with pytest.raises(SchemaError, match=r"items.parquet: got a file that cannot be read"):
        validate_dataset(dataset, files.folder / "rejects", now=NOW)


def test_a_missing_file_is_named(files: Files) -> None:
    dataset = files.dataset()
    dataset.items.path.unlink()
    with pytest.raises(SchemaError, match=r"items.parquet: got no such file, expected a file"):
        validate_dataset(dataset, files.folder / "rejects", now=NOW)


def test_a_file_that_uses_the_names_of_the_rejects_keeps_its_columns(files: Files) -> None:
    files.interactions |= {"row": [10, 11, 12], "reason": ["x", "y", "z"]}
    files.interactions["item_id"] = ["a", "b", None]
    files.validate()
    (row,) = files.rejects("interactions")
    assert (row["row"], row["reason"]) == (2, "null item_id")
    assert (row["row_in_file"], row["reason_in_file"]) == (12, "z")


def test_a_polars_file_is_read_as_it_is(files: Files) -> None:
    dataset = files.dataset()
    frame = pl.DataFrame(pa.table(good_interactions())).with_columns(
        pl.col("user_id").cast(pl.Enum(list("123")))
    )
    frame.write_parquet(dataset.interactions.path)
    data = validate_dataset(dataset, files.folder / "rejects", now=NOW)
    assert data.interactions["user_id"].to_pylist() == ["1", "2", "3"]
