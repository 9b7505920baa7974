"""Values of posted rows: each becomes what its column holds, or is refused with its field."""

import math
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.times import TIMESTAMP
from intake.given_values import GivenError
from intake.posted.posted_columns import PostedColumns

SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("created", TIMESTAMP),
        ("title", pa.string()),
        ("year", pa.int64()),
        ("price", pa.float64()),
        ("genres", pa.list_(pa.string())),
        ("hidden", pa.bool_()),
        ("until", TIMESTAMP),
    ]
)
COLUMNS = PostedColumns.of(SCHEMA, "item_id", ("title",))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_a_row_has_every_column() -> None:
    row = {"title": "Äpfel", "year": 1984.0, "price": 3, "genres": ["a"], "hidden": False}
    until = "2031-01-01T02:00:00+02:00"
    assert COLUMNS.read(row | {"until": until}, is_whole=True) == row | {
        "until": datetime(2031, 1, 1, tzinfo=UTC)
    }
    assert COLUMNS.read({"title": None}, is_whole=True) == dict.fromkeys(COLUMNS.types)
    assert COLUMNS.read({"price": None}, is_whole=False) == {"price": None}
    never = COLUMNS.read({"until": "9999-12-31T00:00:00Z"}, is_whole=False)["until"]
    assert never.year == 2199  # as prepare reads it


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("title", 7, "title is a number, expected text"),
        ("title", "x" * 70_000, "longer than 65536"),
        ("title", "\ud800", "not valid Unicode"),
        ("year", True, "year is true, expected a number"),
        ("year", 1984.5, "no whole number"),
        ("year", 2**70, "no whole number"),
        ("price", math.inf, "infinite price"),
        ("price", 1e31, "beyond 1e\\+30"),
        ("genres", "a", "genres is one text, expected a list of texts"),
        ("genres", {"a": 1}, "genres is an object, expected a list of texts"),
        ("genres", ["a"] * 1_001, "genres is a list of 1,001, expected at most 1,000 texts"),
        ("genres", ["a", 1], "genres is a number, expected text"),
        ("hidden", 1, "expected true or false"),
        ("until", "2031-01-01", "without zone"),
        ("until", "tomorrow", "unparsable"),
        ("colour", "red", "unknown column, expected one of title, year"),
        ("event_timestamp", "2031-01-01T00:00:00Z", "unknown column"),
    ],
)
def test_what_cannot_be_used_names_its_field(field: str, value: object, said: str) -> None:
    with pytest.raises(GivenError, match=said) as error:
        COLUMNS.read({"title": "t", field: value}, is_whole=True)
    assert error.value.field == field


def test_a_name_of_the_files_is_told_its_name_here() -> None:
    columns = PostedColumns.of(SCHEMA, "item_id", renamed={"isbn": "item_id", "cost": "price"})
    with pytest.raises(GivenError, match="unknown column, its name here is item_id") as error:
        columns.require_known(["title", "isbn"])
    assert error.value.field == "isbn"
    columns.require_known(["title", "price"])


def test_a_row_without_a_title_column_is_none() -> None:
    with pytest.raises(GivenError, match="missing title"):
        COLUMNS.read({"year": 1}, is_whole=True)


@given(st.dictionaries(st.sampled_from(SCHEMA.names), json_values), st.booleans())
def test_whatever_comes_fits_the_table_or_is_refused(given: dict[str, Any], is_whole: bool) -> None:
    try:
        found = COLUMNS.read(given, is_whole=is_whole)
    except GivenError:
        return
    table = pa.Table.from_pylist([found], SCHEMA)
    assert table.select(list(found)).to_pylist() == [found]
