"""Feedback of several kinds: what each means in the file, in the journal and at the door."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from feast_fusion.errors import SchemaError
from intake.event import EVENT_FORMAT, Event
from intake.event_types import UNLISTED
from intake.workspace import Workspace, open_workspace
from serving.live.live_event import LiveEvent, Outcome
from serving.live.prepared_history import PreparedHistory
from tests.datasets import START, make_shop
from training.spine import build_spine
from transformations.collaborative.prepared_log import read_prepared_events
from transformations.names import EXAMPLES, INTERACTIONS
from transformations.prepared_sources import write_sources

KINDS = ["impression", "click", "it's bought", "share"]
TYPES = """
[interactions.types.impression]
positive = false
history = false
[interactions.types.click]
positive = true
[interactions.types."it's bought"]
positive = true
weight = 3.0
interest_weight = 2.0
"""


def prepare(folder: Path, toml: str = TYPES, kinds: list[str] = KINDS) -> Workspace:
    """400 events of 100 instants whose types come in turn; nothing lists "share"."""
    path = make_shop(folder / "data", n_events=400)
    events = pl.read_parquet(path.parent / "purchases.parquet")
    typed = pl.Series("event_type", [kinds[i % len(kinds)] for i in range(len(events))])
    events.with_columns(typed).write_parquet(path.parent / "purchases.parquet")
    path.write_text(path.read_text() + toml)
    return open_workspace(path, folder / "home")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    prepared = prepare(tmp_path_factory.mktemp("kinds"))
    report = write_sources(prepared)
    assert report.rejects["interactions"] == {UNLISTED: 100}
    (example,) = report.examples["interactions"].values()
    assert "'share'" in example and "'impression', 'click', \"it's bought\"" in example
    return prepared


def test_an_impression_is_an_example_and_no_history(workspace: Workspace) -> None:
    history = pl.read_parquet(workspace.source(INTERACTIONS))
    assert history["event_type"].value_counts().sort("event_type").rows() == [
        ("click", 100),
        ("it's bought", 100),
    ]
    assert history["positive"].all()
    assert (
        pl.read_parquet(workspace.source(EXAMPLES))["event_type"].to_list() == ["impression"] * 100
    )
    counted = pl.read_parquet(workspace.source("user_stats"))
    newest = counted.sort("event_timestamp").group_by("user_id").last()
    assert newest["user_n_events"].sum() == 200


def test_each_event_is_an_example_with_the_weight_of_its_type(workspace: Workspace) -> None:
    """Data with negatives of their own get none drawn."""
    spine = pl.DataFrame(build_spine(workspace))
    found = spine.group_by("label", "weight").len().sort("label", "weight").rows()
    assert found == [(0, 1.0, 100), (1, 1.0, 100), (1, 3.0, 100)]
    assert spine["event_timestamp"].is_sorted()


def test_item_models_read_the_weight(workspace: Workspace) -> None:
    events = read_prepared_events(workspace)
    assert sorted(set(events.weight.tolist())) == [1.0, 3.0]
    newest = pl.read_parquet(workspace.source("item_neighbours")).filter(
        pl.col("event_timestamp") == pl.col("event_timestamp").max()
    )
    stamp = newest["event_timestamp"][0]
    until = events.time < int(stamp.timestamp() * 1e6)
    totals = np.bincount(events.item[until], events.weight[until], minlength=len(events.items))
    by_item = dict(zip(events.items.ids.to_pylist(), np.log1p(totals), strict=True))
    assert newest["popular"].to_list() == pytest.approx([by_item[i] for i in newest["item_id"]])


def event(event_type: str | None, name: str) -> Event:
    return Event(name, "客户1", "货-1", int(START.timestamp() * 1e6), None, event_type, 0)


def test_live_events_follow_the_same_rules(workspace: Workspace) -> None:
    history = PreparedHistory(workspace)
    kinds = [*KINDS, None]
    screened = history.screen([event(kind, f"e{kind}") for kind in kinds])
    impression, click, purchase, *refused = screened
    for each, positive in ((impression, False), (click, True), (purchase, True)):
        assert isinstance(each, LiveEvent) and each.occurrence.positive is positive
    assert [history.counts(e.event) for e in screened if isinstance(e, LiveEvent)] == [
        False,
        True,
        True,
    ]
    for each in refused:
        assert isinstance(each, Outcome) and each.reason == UNLISTED


def test_impressions_of_the_journal_are_examples_too(tmp_path: Path) -> None:
    from intake.validation import validate_dataset

    workspace = prepare(tmp_path)
    journal = EVENT_FORMAT.to_table([event("impression", "late"), event("share", "later")])
    data = validate_dataset(workspace.dataset, tmp_path / "rejects", journal=journal)
    assert data.report.rejects["events"] == {UNLISTED: 1}
    last = data.interactions.slice(len(data.interactions) - 1).to_pylist()[0]
    assert (last["event_type"], last["positive"], last["weight"]) == ("impression", False, 1.0)


def test_negatives_are_drawn_where_the_data_have_none(tmp_path: Path) -> None:
    """Each of the weight of its positive."""
    workspace = prepare(tmp_path, kinds=["click", "it's bought"])
    write_sources(workspace)
    spine = pl.DataFrame(build_spine(workspace))
    counts = dict(spine.group_by("label").len().rows())
    assert counts[1] == 400 and counts[0] > 800
    weights = {(label, weight) for label, weight in spine.select("label", "weight").iter_rows()}
    assert weights == {(label, weight) for label in (0, 1) for weight in (1.0, 3.0)}


def test_only_impressions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"\[interactions.types\]: got false for each of 400"):
        write_sources(prepare(tmp_path, kinds=["impression"]))
