"""Files as people have them: what would go wrong silently stops, and each remedy is run."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import SchemaError
from intake.dataset_file import load_dataset
from intake.validation import validate_dataset
from tests.intake.data_files import IMPLICIT, NOW, THEN, TOML, Files, times

SECONDS = 1_700_000_000
MEANT = datetime.fromtimestamp(SECONDS, UTC)


def remedied(files: Files, name: str = "interactions", which: int = 0) -> tuple[str, Any]:
    """The message, and what validation says with the key of dataset.toml, or the line, in it."""
    dataset = files.dataset()
    with pytest.raises(SchemaError) as error:
        validate_dataset(dataset, files.folder / "rejects", now=NOW)
    message = str(error.value)
    path = files.folder / f"{name}.parquet"
    assert str(path) in message
    key_or_line = re.findall(r"`((?:frame|[a-z_]+ = ).*?)`", message)[which]
    if not key_or_line.startswith("frame"):
        toml = dataset.path.read_text().replace(f"[{name}]", f"[{name}]\n{key_or_line}")
        dataset.path.write_text(toml)
        dataset = load_dataset(dataset.path)
        return message, validate_dataset(dataset, files.folder / "rejects", now=NOW)
    names = {"frame": pd.read_parquet(path), "pandas": pd}
    exec(key_or_line, names)
    names["frame"].to_parquet(path)
    return message, validate_dataset(dataset, files.folder / "rejects", now=NOW)


def instants(data: Any) -> list[datetime]:
    found: list[datetime] = data.interactions["event_timestamp"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("ticks", "read", "shown"),
    [
        (SECONDS, "ms", ("1970-01-20T16:13:20Z", "milliseconds", "seconds")),
        (SECONDS, "us", ("1970-01-01T00:28:20Z", "microseconds", "seconds")),
        (SECONDS, "ns", ("1970-01-01T00:00:01Z", "nanoseconds", "seconds")),
        (SECONDS * 1_000, "us", ("1970-01-20T16:13:20Z", "microseconds", "milliseconds")),
        (SECONDS * 1_000, "s", ("the year 55840", "milliseconds", "microseconds")),
        (SECONDS * 1_000_000, "ms", ("the year 55840", "milliseconds", "microseconds")),
    ],
)
def test_times_read_in_another_unit_stop_with_both_readings(
    files: Files, ticks: int, read: str, shown: tuple[str, str, str]
) -> None:
    files.interactions["event_timestamp"] = pa.array([ticks] * 3, pa.timestamp(read, "UTC"))
    message, data = remedied(files)
    was, by, meant = shown
    assert f"column 'event_timestamp': got {was} for most rows, read as {by}" in message
    assert f"2023-11-14T22:13:20Z, which the same numbers are as {meant}" in message
    assert instants(data) == [MEANT] * 3


def test_text_of_times_that_were_read_in_another_unit_is_read_again(files: Files) -> None:
    files.interactions["event_timestamp"] = [None, *["1970-01-20T16:13:20+00:00"] * 2]
    message, data = remedied(files)
    assert "got 1970-01-20T16:13:20Z for most rows, read as microseconds" in message
    assert "2023-11-14T22:13:20Z, which the same numbers are as milliseconds" in message
    assert instants(data) == [MEANT] * 2


def test_times_of_1970_stay_where_no_other_unit_makes_sense_or_they_are_few(files: Files) -> None:
    early = datetime(1970, 1, 20, tzinfo=UTC)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    files.items["event_timestamp"] = pa.array([epoch] * 3, pa.timestamp("ms", "UTC"))
    files.interactions["event_timestamp"] = pa.array([THEN, early, THEN], pa.timestamp("us", "UTC"))
    assert instants(files.validate()) == [THEN, early, THEN]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("kind", [int, float, str])
def test_numbers_become_times_in_the_unit_that_the_message_names(
    files: Files, unit: str, kind: type
) -> None:
    number = SECONDS * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    files.interactions["event_timestamp"] = [kind(number)] * 3
    message, data = remedied(files)
    assert str(kind(number)) in message
    assert "2023-11-14T22:13:20Z" in message
    assert instants(data) == [MEANT] * 3


DAY = datetime(2019, 11, 15, tzinfo=UTC)
MORNING = datetime(2019, 11, 15, 8, 55, 22, tzinfo=UTC)
PUBLISHED: dict[str, tuple[Any, datetime]] = {
    "MIND": ("11/15/2019 8:55:22 AM", MORNING),
    "Goodreads": ("Fri Nov 15 00:55:22 -0800 2019", MORNING),
    "Amazon": ("11 15, 2019", DAY),
    "Tmall": ("20191115", DAY),
    "Tmall as numbers": (20191115, DAY),
    "European": ("15.11.2019", DAY),
    "day first": ("15/11/2019", DAY),
    "mixed": ("15 November 2019 08:55:22", MORNING),
}


@pytest.mark.parametrize("source", PUBLISHED)
def test_dates_of_published_data_sets_are_shown_and_their_form_is_named(
    files: Files, source: str
) -> None:
    written, meant = PUBLISHED[source]
    files.interactions["event_timestamp"] = [written] * 3
    message, data = remedied(files)
    assert f"such as {written!r}" in message
    assert instants(data) == [meant] * 3


NAIVE: dict[str, Any] = {
    "timestamps": [THEN.replace(tzinfo=None)] * 3,
    "dates": [THEN.date()] * 3,
    "text": ["2024-01-01", "2024-01-01T00:00:00", "2024-01-01 00:00:00.000"],
}


@pytest.mark.parametrize("kind", NAIVE)
def test_times_without_zone_get_one_by_the_line_in_the_message(files: Files, kind: str) -> None:
    files.interactions["event_timestamp"] = NAIVE[kind]
    message, data = remedied(files)
    assert "'event_timestamp without zone': 3}, such as '2024-01-01" in message
    assert instants(data) == [THEN] * 3
    files.interactions["event_timestamp"] = NAIVE[kind]
    _, data = remedied(files, which=1)
    assert instants(data) == [datetime(2023, 12, 31, 16, tzinfo=UTC)] * 3


def test_ids_that_became_fractions_are_whole_again(files: Files) -> None:
    files.interactions["user_id"] = [17.0, 18.0, 19.0]
    message, data = remedied(files)
    assert "column 'user_id': got double, such as 17.0, expected strings or integers" in message
    assert data.interactions["user_id"].to_pylist() == ["17", "18", "19"]
    files.interactions["user_id"] = [17.0, 18.5, 19.0]
    with pytest.raises(SchemaError, match=r"such as 18.5.*A fraction identifies nothing"):
        files.validate()


@pytest.mark.parametrize(
    ("known", "given"),
    [(["0600", "0601", "0602"], [600, 601, 602]), (["600", "7", "80"], ["0600", "007", "080"])],
)
def test_ids_that_lost_their_zeros_are_shown_on_both_sides(
    files: Files, known: list[str], given: list[Any]
) -> None:
    files.items["item_id"], files.interactions["item_id"] = known, given
    message, data = remedied(files)
    shown = ", ".join(repr(str(each)) for each in given)
    assert f"such as {shown}, where items have ids such as '{known[0]}'" in message
    assert data.interactions["item_id"].to_pylist() == known


def test_a_value_beyond_the_range_leaves_and_the_rest_is_as_if_it_had_never_been(
    files: Files,
) -> None:
    files.toml = TOML + "value_range = [0.5, 5.0]\n"
    table = pa.table(files.interactions)
    files.interactions["value"] = [4.0, 3.5, 5.0]
    whole = files.validate()
    row = {**table.slice(0, 1).to_pylist()[0]}
    bad = pa.Table.from_pylist([row | {"value": v} for v in (1e308, -1e308, 0.4)], table.schema)
    table = pa.concat_tables([table, bad])
    files.interactions = dict(zip(table.column_names, table.columns, strict=True))
    data = files.validate()
    assert data.report.rejects["interactions"] == {"value out of range": 3}
    assert data.report.examples["interactions"] == {
        "value out of range": "such as '1e+308', '-1e+308', '0.4', where [interactions] "
        "value_range has 0.5 to 5"
    }
    assert data.interactions.equals(whole.interactions)


def test_a_positive_condition_counts_without_the_word_explicit(files: Files) -> None:
    files.toml = TOML.replace("explicit = true\n", "")
    files.interactions["value"] = [2.0, 4.0, 5.0]
    dataset = files.dataset()
    assert dataset.interactions.explicit
    assert files.validate().interactions["positive"].to_pylist() == [False, True, True]
    files.toml = TOML.replace("explicit = true", "explicit = false")
    with pytest.raises(SchemaError, match="positive is not used with explicit = false"):
        files.dataset()


def test_labels_that_are_all_the_same_are_found_before_anything_is_derived(files: Files) -> None:
    files.toml = TOML.replace("value >= 4", "value >= 3")
    with pytest.raises(SchemaError, match="remove positive and explicit") as error:
        files.validate()
    assert "positive = 'value >= 3': got true for each of 3 usable events" in str(error.value)
    assert "value from 3.5 to 5.0" in str(error.value)
    files.toml = TOML.replace("value >= 4", "event_type = 'Buy'")
    files.interactions["event_type"] = ["buy", "view", "buy"]
    with pytest.raises(SchemaError, match=r"got false for each.*event_type such as 'buy', 'view'"):
        files.validate()
    files.toml = IMPLICIT
    assert files.validate().interactions["positive"].to_pylist() == [True] * 3


def test_event_types_that_are_numbers_are_compared_as_text(files: Files) -> None:
    files.toml = TOML.replace("value >= 4", "event_type = 1 OR event_type <> 2")
    files.interactions["event_type"] = [1, 2, 3]
    with pytest.raises(SchemaError, match="event_type is text") as error:
        files.validate()
    (line,) = re.findall(r"`(positive.*?)`", str(error.value))
    files.toml = re.sub("positive = .*", line, TOML)
    assert files.validate().interactions["positive"].to_pylist() == [True, False, True]


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["n/a", "3.5", "5"], [None, 3.5, 5.0]), ([True, False, True], [1.0, 0.0, 1.0])],
)
def test_values_become_numbers_by_what_the_message_says(
    files: Files, values: list[Any], expected: list[float]
) -> None:
    files.toml = TOML.replace("value >= 4", "value > 0 AND value <> 3.5 OR user_id = '1'")
    files.interactions["value"] = values
    message, data = remedied(files)
    assert f"such as {values[0]!r}, expected numbers" in message
    assert data.interactions["value"].to_pylist() == expected


def test_few_times_that_no_calendar_has_leave_with_an_example(files: Files) -> None:
    ticks = [SECONDS * 1_000, SECONDS * 1_000, SECONDS * 1_000_000]
    files.interactions["event_timestamp"] = pa.array(ticks, pa.timestamp("ms", "UTC"))
    files.interactions["value"] = [2.0, 4.0, 5.0]
    data = files.validate()
    assert instants(data) == [MEANT] * 2
    assert data.report.examples["interactions"] == {
        "event_timestamp out of range": "such as 'the year 55840'"
    }


def test_numbers_among_texts_are_read_by_the_key_in_the_message(files: Files) -> None:
    files.users["age"] = ["20", "unknown"]
    message, data = remedied(files, "users")
    assert "column 'age': got string, such as 'unknown', expected double, such as 4.5" in message
    assert data.users["age"].to_pylist() == [20.0, None]


def test_numbers_that_are_no_times_are_replaced_by_the_column_that_has_them(files: Files) -> None:
    when = [f"{MEANT:%FT%T}Z"] * 3
    files.interactions |= {"event_timestamp": [1, 2, 3], "timestamp": when}
    message, data = remedied(files)
    assert "column 'event_timestamp': got int64, such as 1, expected a timestamp" in message
    assert instants(data) == [MEANT] * 3


def test_an_empty_users_table_says_that_it_is_optional(files: Files) -> None:
    schema = pa.table(files.users).schema
    files.users = {field.name: pa.array([], field.type) for field in schema}
    with pytest.raises(SchemaError, match=r"users.parquet: no row is left: got 0 rows.*optional"):
        files.validate()
    files.toml = TOML.replace('[users]\npath = "users.parquet"\nnumeric = ["age"]\n', "")
    assert files.validate().users is None


def test_what_is_there_and_not_read_is_named_in_a_line_each(files: Files) -> None:
    files.toml = TOML + (
        "[interactions.types.clik]\ndecay = 0.5\n[interactions.types.buy]\nweight = 2\n"
    )
    files.interactions |= {"device": ["a"] * 3, "page": [1, 2, 3], "event_type": ["buy"] * 3}
    files.items["price"] = [1.0, 2.0, 3.0]
    assert files.validate().report.notes == [
        "Not used: 'price' of items.parquet; name them in [items] as numeric, categorical or in "
        "text.",
        "Not used: 'device', 'page' of interactions.parquet; name them in [interactions.context] "
        "or in positive of [interactions].",
        "Not used: [interactions.types] of 'clik'; the events have 'buy'.",
    ]
    files.toml = TOML + "[interactions.types.view]\ndecay = 0.5\n"
    files.interactions["event_type"] = ["buy", "view", "buy"]
    assert files.validate().report.notes[-1] == (
        "No rule of their own in [interactions.types]: 'buy'; they have the defaults."
    )
    del files.interactions["event_type"]
    files.toml = TOML.replace("value >= 4", "value >= 4 AND device = 'a' AND page > 0")
    del files.items["price"]
    assert files.validate().report.notes == []


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["o1", "o2", "o3"], ["each event has its own, as an event_id: `columns = {event_id = "]),
        ([7, 8, 9], ["each event has its own"]),
        (["o1", "o1", "o2"], ["name them in [interactions.context]"]),
        (["o1", "o2", None], ["name them in [interactions.context]"]),
    ],
)
def test_an_id_of_events_that_is_not_read_is_named_as_one(
    files: Files, ids: list[Any], said: list[str]
) -> None:
    files.interactions["order_id"] = ids
    notes = files.validate().report.notes
    assert [part in note for part, note in zip(said, notes, strict=True)] == [True]


def test_an_event_id_under_its_own_name_is_read(files: Files) -> None:
    files.interactions["order_id"] = ["o1", "o2", "o3"]
    files.toml = TOML + 'columns = {event_id = "order_id"}\n'
    assert files.validate().report.notes == []


def test_numbers_that_are_true_or_false_count_as_one_and_zero(files: Files) -> None:
    files.items["year"] = [True, False, None]
    assert files.validate().items["year"].to_pylist() == [1.0, 0.0, None]


def test_columns_of_any_name_stand_in_the_text(files: Files) -> None:
    files.toml = TOML.replace("{genres}", "{product group.name} of {brand-name}")
    files.items |= {"product group.name": ["x", "y", "z"], "brand-name": ["p", None, "q"]}
    items = files.validate().items
    assert items["product group.name"].to_pylist() == ["x", "y", "z"]
    assert items["brand-name"].to_pylist() == ["p", None, "q"]


def text(template: str) -> Callable[[Files], None]:
    def spoil(files: Files) -> None:
        files.toml = TOML.replace("{title}. {genres}.", template)

    return spoil


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{title} {year:.2f}", r"missing columns \['year:.2f'\].*write \{year\} for \{year:.2f\}"),
        ("{title!r}", r"write \{title\} for \{title!r\}"),
        ("{title} {brand-name}", r"missing columns \['brand-name'\]"),
        ("{title} {}", r"\[items\] text: got '\{title\} \{\}'; .*a brace stands alone"),
        ("{title", "a brace stands alone"),
    ],
)
def test_a_placeholder_that_names_no_column_is_refused_by_name(
    files: Files, template: str, message: str
) -> None:
    text(template)(files)
    with pytest.raises(SchemaError, match=message):
        files.validate()


def test_up_to_three_different_values_or_rows_are_shown(files: Files) -> None:
    n = 12
    files.interactions |= {
        "user_id": ["1"] * n,
        "event_timestamp": times(*[THEN] * n),
        "value": [4.0, 3.0, *[5.0] * (n - 2)],
        "item_id": ["a", "a", "b", "x", "x", "y", "z", "w", "b", "b", "b", "b"],
    }
    assert files.validate().report.examples["interactions"] == {
        "unknown item_id": "such as 'x', 'y', 'z', where items have ids such as 'a'",
        "duplicate": "such as rows 8, 9, 10",
    }


def test_what_is_rejected_is_counted_with_an_example(files: Files) -> None:
    files.interactions["item_id"] = ["a", "b", "nowhere"]
    assert files.validate().report.examples["interactions"] == {
        "unknown item_id": "such as 'nowhere', where items have ids such as 'a'"
    }
    assert pq.read_table(files.folder / "rejects/interactions.parquet")["item_id"][0].as_py() == (
        "nowhere"
    )
