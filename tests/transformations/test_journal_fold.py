"""prepare folds the journal in: live events become interactions as if the file had had them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.times import TIMESTAMP, to_micros
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.positive import PositiveRule
from intake.workspace import Workspace, open_workspace
from tests.datasets import START, make_films
from transformations.prepared_sources import SourcesReport, write_sources

T0 = int(START.timestamp()) * 1_000_000
HOUR = 3_600_000_000
NOW = datetime(2024, 6, 1, tzinfo=UTC)

TOML = """
name = "fold"
[items]
path = "items.parquet"
title = "title"
text = "{title}."
[interactions]
path = "events.parquet"
"""


@pytest.fixture
def films(tmp_path: Path) -> Workspace:
    path = make_films(tmp_path / "films", n_users=20, n_items=30, n_events=400)
    return open_workspace(path, tmp_path / "home")


def rated(number: int, **changed: Any) -> Event:
    plain = Event(f"n{number}", f"u{number % 7}", f"f{number % 30}", T0, 5.0, None, T0 + number)
    return plain._replace(**{"time": T0 + number * HOUR // 3, **changed})


def append(workspace: Workspace, *events: Event) -> None:
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append(events)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.glob("*.parquet")  # the manifest tells files and journal apart
    }


def as_rows(events: list[Event]) -> pl.DataFrame:
    frame = pl.DataFrame(EVENT_FORMAT.to_table(events)).drop("received")
    return frame.with_columns(pl.col("event_timestamp").cast(pl.Datetime("us", "UTC")))


events = st.builds(
    rated,
    st.integers(0, 40),
    time=st.integers(0, 60 * 24).map(lambda hour: T0 + hour * HOUR),
    value=st.sampled_from([1.0, 4.0, 5.0]),
    event_type=st.sampled_from([None, "view", "buy"]),
)


@settings(max_examples=6)
@given(batch=st.lists(events, min_size=1, max_size=12, unique_by=lambda each: each.event_id))
def test_folding_gives_what_the_file_would_give_with_the_events_in_it(
    batch: list[Event], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fold")
    size = {"n_users": 6, "n_items": 30, "n_events": 40}
    live = open_workspace(make_films(folder / "a", **size), folder / "home a")
    append(live, *batch)
    write_sources(live)
    file = open_workspace(make_films(folder / "b", **size), folder / "home b")
    path = file.dataset.interactions.path
    frame = pl.read_parquet(path)
    pl.concat([frame, as_rows(batch)], how="diagonal").write_parquet(path)
    write_sources(file)
    assert content(live.sources) == content(file.sources)


def test_a_second_prepare_has_nothing_to_do_until_an_event_comes(films: Workspace) -> None:
    assert "events" not in write_sources(films).read
    append(films, rated(1), rated(2))
    first = write_sources(films)
    assert (first.is_unchanged, first.read["events"], first.rejects["events"]) == (False, 2, {})
    assert first.rows["interactions"] == 402
    again = write_sources(films)
    assert again.is_unchanged
    assert again.read == first.read
    append(films, rated(1), rated(3))
    assert write_sources(films).rows["interactions"] == 403


def test_live_events_are_screened_as_those_of_the_file(films: Workspace) -> None:
    due = NOW + timedelta(minutes=3)
    append(
        films,
        rated(1),
        rated(2, item_id="nowhere"),
        rated(3, value=None),
        rated(4, user_id=""),
        rated(5, event_id="r7"),  # the file has it
        rated(6, time=int(due.timestamp()) * 1_000_000),
    )
    report = write_sources(films, now=NOW)
    assert report.rejects["events"] == {
        "unknown item_id": 1,
        "null value": 1,
        "empty user_id": 1,
        "duplicate": 1,
        "event_timestamp in the future": 1,
    }
    rejected = pq.read_table(films.sources / "rejects" / "events.parquet").to_pylist()
    assert {row["event_id"]: row["reason"] for row in rejected}["n3"] == "null value"
    assert report.rows["interactions"] == 401
    late = write_sources(films, now=due)
    assert late.rows["interactions"] == 402


def test_events_that_are_all_unusable_leave_the_interactions_alone(films: Workspace) -> None:
    write_sources(films)
    before = content(films.sources)
    append(films, rated(1, item_id="nowhere"))
    assert write_sources(films).rejects["events"] == {"unknown item_id": 1}
    assert content(films.sources) == before


def test_events_of_no_possible_time_or_value_are_set_aside_and_counted(films: Workspace) -> None:
    plain = write_sources(films).rows
    before = content(films.sources)
    long_ago, far_ahead = to_micros(datetime(1, 1, 1, tzinfo=UTC)), to_micros(datetime.max)
    append(
        films,
        rated(1, time=long_ago),
        rated(2, time=far_ahead),
        rated(3, value=1e308),
        rated(4, value=-1e308),
        rated(5, time=20_000 * HOUR // 1000),  # in 1970: alone it is no reading of a whole file
    )
    report = write_sources(films)
    assert report.rejects["events"] == {
        "event_timestamp out of range": 2,
        "value out of range": 2,
    }
    assert report.examples["events"]["value out of range"].startswith(
        "such as '1e+308', '-1e+308', where"
    )
    assert report.rows["interactions"] == plain["interactions"] + 1
    for path in films.events.iterdir():
        path.unlink()
    write_sources(films)
    assert content(films.sources) == before


def test_a_damaged_journal_stops_prepare_and_leaves_the_sources(films: Workspace) -> None:
    append(films, rated(1))
    write_sources(films)
    before = content(films.sources)
    with Journal(films.events, EVENT_FORMAT) as journal:
        for number in (2, 3):
            journal.append([rated(number)])
    (path,) = sorted(films.events.glob("*.jsonl"))[1:]
    path.write_bytes(path.read_bytes().replace(b'"n2"', b'"n9"'))
    with pytest.raises(SchemaError, match=f"{path.name}: line 1"):
        write_sources(films)
    assert content(films.sources) == before


def prepare_plain(folder: Path, *live: Event, toml: str = TOML, **columns: Any) -> SourcesReport:
    """A file with two events and whatever columns, and live ones."""
    folder.mkdir(exist_ok=True)
    items = {"item_id": [1, 2], "event_timestamp": [START] * 2, "title": ["A", "B"]}
    file = {"user_id": [7, 8], "item_id": [1, 2], "event_timestamp": [START] * 2}
    for name, table in (("items", items), ("events", file | columns)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    workspace = open_workspace(folder / "dataset.toml", folder / "home")
    append(workspace, *live)
    return write_sources(workspace)


LIVE = Event("e1", "7", "2", T0 + 5, None, "view", T0)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"event_timestamp": ["2024-01-01T00:00:00Z"] * 2},
        {"event_timestamp": pa.array([START] * 2, pa.timestamp("s", "Europe/Berlin"))},
        {"user_id": pa.array(["7", "8"]).dictionary_encode(), "event_id": [1, 2]},
        {"value": [3, 4], "event_type": ["view", None], "note": [[1], None]},
    ],
)
def test_files_of_any_form_take_live_events(tmp_path: Path, columns: dict[str, Any]) -> None:
    report = prepare_plain(tmp_path / "data", LIVE, **columns)
    assert report.rows["interactions"] == 3
    table = pq.read_table(tmp_path / "data" / "home" / "fold" / "sources" / "interactions.parquet")
    assert table.schema.field("event_timestamp").type == TIMESTAMP
    (row,) = (row for row in table.to_pylist() if row["event_id"] == "e1")
    expected = {"user_id": "7", "item_id": "2", "positive": True, "value": None}
    assert {name: row[name] for name in expected} == expected
    assert row["event_type"] == "view"
    recent = pl.read_parquet(tmp_path / "data/home/fold/sources/user_events.parquet")
    assert recent.filter(pl.col("types").list.contains("view")).height >= 1


CONDITIONS = [
    "value >= 4",
    "event_type = 'buy' OR value >= 4",
    "seconds > 30 OR value > 3",
    "seconds > 30",
    "coalesce(seconds, 99) > 30",
    "extract(second from event_timestamp) > 30 OR value > 2",
    "user_id = '7' AND item_id <> '1'",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_live_events_are_positive_as_prepare_will_decide(tmp_path: Path, condition: str) -> None:
    toml = TOML + f"explicit = true\npositive = {json.dumps(condition)}\n"
    live = [
        LIVE._replace(
            event_id=f"e{at}", user_id=user, value=value, event_type=kind, time=T0 + at * 7_000_000
        )
        for at, (user, value, kind) in enumerate(
            (user, value, kind)
            for user in ("7", "8")
            for value in (None, 1.0, 5.0)
            for kind in (None, "buy", "view")
        )
    ]
    file = {"seconds": [10, 50], "value": [3.0, 4.0], "event_type": [None, "buy"]}
    prepare_plain(tmp_path / "data", *live, toml=toml, **file)
    workspace = open_workspace(tmp_path / "data" / "dataset.toml", tmp_path / "data" / "home")
    folded = pl.read_parquet(workspace.sources / "interactions.parquet")
    decided = {row.get("event_id"): row["positive"] for row in folded.iter_rows(named=True)}
    rule = PositiveRule(workspace.dataset, pq.read_schema(workspace.dataset.interactions.path))
    for batch in (live, live[::-1], live[:1]):  # the second and third time from memory
        found = dict(zip([each.event_id for each in batch], rule.decide(batch), strict=True))
        assert found == {event_id: decided.get(event_id) for event_id in found}
