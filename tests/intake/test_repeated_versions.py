"""Several rows of one item at one time: combined, told apart, never lost without a word."""

import re
from typing import Any

import pytest

from feast_fusion.errors import SchemaError
from tests.intake.data_files import KNOWN, THEN, TOML, Files, times


def long_form(files: Files) -> None:
    """Three items, a row per tag, and a price that differs from row to row."""
    tags = {"a": ["x", "y", "x"], "b": ["z"], "c": ["y", None]}
    rows = [(item, tag) for item, found in tags.items() for tag in found]
    files.items = {
        "item_id": [item for item, _ in rows],
        "event_timestamp": times(*[KNOWN] * len(rows)),
        "title": [item.upper() for item, _ in rows],
        "genres": [tag for _, tag in rows],
        "year": [1, 2, 6, 4, 5, 5],
    }


def test_rows_that_differ_are_rejected_with_both_and_the_rule_in_the_message_combines_them(
    files: Files,
) -> None:
    long_form(files)
    data = files.validate()
    reason = "differs from another row of its item_id and event_timestamp"
    assert data.report.rejects["items"] == {reason: 3}
    example = data.report.examples["items"][reason]
    assert example.startswith("such as rows 0 and 1: genres 'x' and 'y', year 1 and 2; a rule")
    assert [row["row"] for row in files.rejects("items")] == [1, 2, 5]
    (key,) = re.findall(r"`(combine = .*?)`", example)
    assert key == 'combine = {genres = "list", year = "last"}'
    files.toml = TOML.replace("[items]", f"[items]\n{key}")
    data = files.validate()
    assert data.report.rejects["items"] == {}
    assert data.items["item_id"].to_pylist() == ["a", "b", "c"]
    assert data.items["genres"].to_pylist() == [["x", "y"], ["z"], ["y"]]
    assert data.items["year"].to_pylist() == [6, 4, 5]
    assert data.report.notes[0] == (
        "6 rows of items.parquet are 3, combined by genres (list), year (last)."
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("first", 1), ("mean", 3), ("max", 6), ("min", 1), ("sum", 9), ("last", 6)],
)
def test_numbers_are_combined_by_each_rule(files: Files, rule: str, expected: float) -> None:
    long_form(files)
    key = f'combine = {{genres = "list", year = "{rule}"}}'
    files.toml = TOML.replace("[items]", f"[items]\n{key}")
    assert files.validate().items["year"].to_pylist()[0] == expected


def test_rows_equal_in_all_that_is_read_are_duplicates(files: Files) -> None:
    files.items = {
        name: [*v.to_pylist(), v.to_pylist()[0]] if hasattr(v, "to_pylist") else [*v, v[0]]
        for name, v in files.items.items()
    }
    files.items["unread"] = [1, 2, 3, 4]
    assert files.validate().report.rejects["items"] == {"duplicate": 1}


def test_only_rows_that_agree_in_the_rest_are_combined(files: Files) -> None:
    columns: dict[str, Any] = {
        "user_id": ["1", "1", None, None, "2", "2"],
        "event_timestamp": times(KNOWN, KNOWN, KNOWN, KNOWN, KNOWN, THEN),
        "age": [20, 20, 20, 20, 30, 31],
        "city": [["p"], ["q", "p"], ["r"], ["r"], ["s"], ["s"]],
        "job": ["m", "m", "m", "m", "m", "m"],
    }
    files.users = columns
    files.toml = TOML.replace(
        '["age"]', '["age"]\ncategorical = ["city", "job"]\ncombine = {city = "list"}'
    )
    data = files.validate()
    assert data.users is not None
    assert data.users["city"].to_pylist() == [["p", "q"], ["s"], ["s"]]
    assert data.report.rejects["users"] == {"null user_id": 2}
    files.users = columns | {"job": ["m", "n", "m", "m", "m", "m"]}
    (reason,) = set(files.validate().report.rejects["users"]) - {"null user_id"}
    assert reason.startswith("differs from another row of its user_id")


def test_a_rule_for_a_column_that_is_not_there_is_refused(files: Files) -> None:
    files.toml = TOML.replace("[items]", '[items]\ncombine = {genre = "list"}')
    with pytest.raises(SchemaError, match=r"missing columns \['genre'\]"):
        files.validate()
    files.toml = TOML.replace("[items]", '[items]\ncombine = {genres = "median"}')
    with pytest.raises(SchemaError, match=r"\[items.combine\] genres: got 'median'"):
        files.validate()
