"""From when items and users are known: what their table says, or a declared rule."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from intake.valid_from import BEGINNING
from tests.intake.data_files import IMPLICIT, NOW, THEN, Files, times

EXPORTED = datetime(2024, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def stamps(table: pa.Table, column: str = "event_timestamp") -> list[datetime]:
    found: list[datetime] = table[column].to_pylist()
    return found


def with_key(files: Files, key: str, section: str = "items") -> Any:
    files.toml = files.toml.replace(f"[{section}]", f"[{section}]\n{key}")
    return files.validate()


@pytest.mark.parametrize("section", ["items", "users"])
def test_a_table_without_times_needs_a_rule_and_the_message_has_both(
    files: Files, section: str
) -> None:
    getattr(files, section).pop("event_timestamp")
    with pytest.raises(SchemaError, match=r"missing columns \['event_timestamp'\]") as error:
        files.validate()
    keys = re.findall(r"`(valid_from = .*?)`", str(error.value))
    assert keys == ['valid_from = "beginning"', 'valid_from = "first_event"']
    data = with_key(files, keys[0], section)
    assert set(stamps(getattr(data, section))) == {BEGINNING}


def test_an_item_is_known_from_its_first_event_or_from_the_newest_of_all(files: Files) -> None:
    files.items.pop("event_timestamp")
    files.interactions = {
        "user_id": list("1231"),
        "item_id": list("aaab"),
        "event_timestamp": times(THEN + DAY, THEN, THEN + 2 * DAY, THEN + 3 * DAY),
        "value": [4.0, 3.0, 5.0, None],
    }
    data = with_key(files, 'valid_from = "first_event"')
    # the event on b is rejected, so b has none either
    assert stamps(data.items) == [THEN, THEN + 2 * DAY, THEN + 2 * DAY]


@pytest.mark.parametrize("rule", ["beginning", "first_event"])
def test_only_first_versions_move_and_only_back(files: Files, rule: str) -> None:
    early = THEN - 30 * DAY
    files.items = {
        "item_id": list("aabc"),
        "event_timestamp": times(THEN + DAY, THEN + 2 * DAY, early, early),
        "created": times(EXPORTED, EXPORTED, EXPORTED, early),
        "title": list("ABCD"),
        "year": [1, 2, 3, 4],
        "genres": [[], [], [], []],
    }
    data = with_key(files, f'valid_from = "{rule}"')
    first, rest = (BEGINNING, BEGINNING) if rule == "beginning" else (THEN, early)
    assert stamps(data.items) == [first, THEN + 2 * DAY, rest, rest]
    assert stamps(data.items, "created") == [first, EXPORTED, rest, rest]


def test_items_stamped_with_the_export_stop_with_the_figures_and_the_remedy(files: Files) -> None:
    files.items["event_timestamp"] = times(EXPORTED, EXPORTED, THEN)
    with pytest.raises(SchemaError, match=r"items.parquet: got 2 of 3 events \(67%\)") as error:
        files.validate()
    message = str(error.value)
    assert "such as of 'a' at 2024-01-01 00:00:00, first known at 2024-05-01 00:00:00" in message
    for key in re.findall(r"`(valid_from = .*?)`", message):
        fresh = Files(files.folder)
        fresh.items["event_timestamp"] = times(EXPORTED, EXPORTED, THEN)
        data = with_key(fresh, key)
        if "event_timestamp" in key:
            assert data.report.notes[0].startswith("2 of 3 events (67%) lie before")
        else:
            assert max(stamps(data.items)) <= THEN and data.report.notes == []


def test_users_stamped_later_stop_too_and_few_events_are_a_note(files: Files) -> None:
    files.users["event_timestamp"] = times(THEN, EXPORTED)
    with pytest.raises(SchemaError, match=r"users.parquet: got 1 of 2 events \(50%\)"):
        files.validate()
    n = 30
    files.interactions = {
        "user_id": ["1"] * n + ["2"],
        "item_id": ["a", "b", "c"] * (n // 3) + ["a"],
        "event_timestamp": times(*(THEN + i * DAY for i in range(n)), THEN),
        "value": [4.0, 3.0] * (n // 2) + [4.0],
    }
    (note,) = files.validate().report.notes
    assert note.startswith("1 of 31 events (3%) lie before the first version of their user")


def test_a_row_without_a_time_is_rejected_where_the_table_has_times(files: Files) -> None:
    files.items["event_timestamp"] = times(None, THEN, NOW + DAY)
    files.toml = IMPLICIT
    data = with_key(files, 'valid_from = "beginning"')
    assert data.items["item_id"].to_pylist() == ["b"]
    assert data.report.rejects["items"] == {
        "null event_timestamp": 1,
        "event_timestamp in the future": 1,
    }
