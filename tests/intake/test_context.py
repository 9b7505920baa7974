"""What is around an event: in the file, in the journal, at the door and in the training set."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from intake.context import ContextColumns, decode_context
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.journal_content import read_journal
from intake.positive import PositiveRule
from intake.validation import validate_dataset
from intake.workspace import Workspace, open_workspace
from serving.live.event_screening import screen_events
from serving.live.live_event import LiveEvent, Outcome
from serving.live.live_log import decode_members, encode_member
from serving.live.prepared_history import PreparedHistory
from tests.datasets import START, make_shop
from training.spine import build_spine
from transformations.names import INTERACTIONS
from transformations.prepared_sources import write_sources

CONTEXT = """
[interactions.context]
numeric = ["depth"]
categorical = ["device", "is_app"]
clock = ["hour", "weekday"]
zone = "Asia/Shanghai"
"""
COLUMNS = ContextColumns(numeric=("depth",), categorical=("device", "is_app"))


def prepare(folder: Path, toml: str = CONTEXT) -> Workspace:
    path = make_shop(folder / "data", n_events=300)
    events = pl.read_parquet(path.parent / "purchases.parquet")
    n = len(events)
    events.with_columns(
        pl.Series("device", [["phone", "desktop", None][i % 3] for i in range(n)]),
        pl.Series("is_app", [i % 2 == 0 for i in range(n)]),
        pl.Series(
            "depth",
            [None if i % 4 == 0 else float("inf") if i == 1 else i for i in range(n)],
            dtype=pl.Float64,
            strict=False,
        ),
    ).write_parquet(path.parent / "purchases.parquet")
    path.write_text(path.read_text() + toml)
    return open_workspace(path, folder / "home")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = prepare(tmp_path_factory.mktemp("context"))
    report = write_sources(workspace)
    assert not report.rejects["interactions"] and not report.notes
    return workspace


def test_the_training_set_has_the_context_of_each_event(workspace: Workspace) -> None:
    """A drawn item has that of the event it is drawn against, the clock that of the instant."""
    spine = pl.DataFrame(build_spine(workspace))
    raw = pl.read_parquet(workspace.dataset.interactions.path).sort("event_timestamp", "event_id")
    liked = spine.filter(pl.col("label") == 1)
    keys = ["user_id", "item_id", "event_timestamp"]
    both = liked.join(raw, on=keys)
    same = {"device": pl.col("device"), "is_app": pl.col("is_app").cast(pl.String)}
    for name, expected in same.items():
        assert both.filter(~pl.col(f"context__{name}").eq_missing(expected)).is_empty()
    depth = pl.when(pl.col("depth").is_finite()).then("depth")
    assert both.filter(~pl.col("context__depth").eq_missing(depth)).is_empty()
    drawn = spine.filter(pl.col("label") == 0).select("user_id", "event_timestamp", "^context.*$")
    assert drawn.join(liked, on=drawn.columns, nulls_equal=True, how="anti").is_empty()
    for at, hour, weekday in (
        spine.select("event_timestamp", "context__hour", "context__weekday").head(50).iter_rows()
    ):
        local = at.astimezone(UTC) + timedelta(hours=8)  # Shanghai has no summer time
        assert (hour, weekday) == (str(local.hour), str(local.isoweekday()))


def raw_event(**more: object) -> dict[str, object]:
    when = (START + timedelta(days=3)).isoformat()
    return {"user_id": "客户1", "item_id": "货-1", "event_timestamp": when, **more}


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (
            {"devcie": "phone"},
            "context 'devcie': got an unknown key, expected depth, device, is_app",
        ),
        ({"depth": "deep"}, "context 'depth': got text, expected a finite number"),
        (
            {"depth": float("nan")},
            "context 'depth': got a number that is not finite, exp",
        ),
        ({"depth": 10**400}, "context 'depth': got a number that is not finite"),
        ({"device": 3.5}, "context 'device': got a number, expected text"),
        ({"device": ""}, "context 'device': got text, expected text of 1 to 512 characters"),
        ({"device": "\ud800"}, "context is not valid Unicode"),
        ({"device": "x" * 513}, "context longer than 512"),
        (["phone"], "context is a list, expected an object"),
    ],
)
def test_a_context_that_cannot_be_used_is_refused_by_name(
    workspace: Workspace, context: object, reason: str
) -> None:
    history = PreparedHistory(workspace)
    (found,) = screen_events([raw_event(context=context)], history, datetime.now(UTC))
    assert isinstance(found, Outcome) and found.reason is not None
    assert found.reason.startswith(reason), found.reason


def test_a_live_event_keeps_its_context_to_the_training_set(
    workspace: Workspace, tmp_path: Path
) -> None:
    history = PreparedHistory(workspace)
    given = {"depth": 2, "device": "tv", "is_app": True}
    raw = [
        raw_event(event_id="a", context=given),
        raw_event(event_id="b", context={"device": None}),
        raw_event(event_id="c"),
    ]
    screened = screen_events(raw, history, datetime.now(UTC))
    events = [each.event for each in screened if isinstance(each, LiveEvent)]
    assert decode_context(events[0].context) == {"depth": 2.0, "device": "tv", "is_app": "true"}
    assert [event.context for event in events[1:]] == [None, None]
    with Journal(tmp_path / "events", EVENT_FORMAT) as journal:
        journal.append(events)
    table = read_journal(tmp_path / "events")
    assert table.equals(EVENT_FORMAT.to_table(events))
    data = validate_dataset(workspace.dataset, tmp_path / "rejects", journal=table)
    columns = [f"context__{name}" for name in COLUMNS.given]
    added = data.interactions.slice(300).select(columns).to_pylist()
    assert [tuple(row.values()) for row in added] == [(2.0, "tv", "true"), *[(None,) * 3] * 2]
    again = decode_members([encode_member(event) for event in events])
    assert again == [event._replace(received=0) for event in events]


def test_positive_may_name_the_context_of_a_live_event(tmp_path: Path) -> None:
    workspace = prepare(tmp_path, CONTEXT)
    text = workspace.dataset.path.read_text()
    rule = "[interactions]\nexplicit = true\npositive = \"device = 'phone'\"\n"
    workspace.dataset.path.write_text(text.replace("[interactions]\n", rule, 1))
    dataset = open_workspace(workspace.dataset.path, tmp_path / "home").dataset
    decided = PositiveRule(dataset, pa.schema([("device", pa.string())]))
    contexts = ['{"device":"phone"}', '{"device":"tv"}', None]
    template = EVENT_FORMAT.to_table([])
    events = [_event(str(n), context) for n, context in enumerate(contexts)]
    assert template.schema.names[-1] == "context"
    assert decided.decide(events) == [True, False, None]


def _event(event_id: str, context: str | None):  # type: ignore[no-untyped-def]
    from intake.event import Event

    return Event(event_id, "客户1", "货-1", int(START.timestamp() * 1e6), None, None, 0, context)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('numeric = ["device"]', r"column 'device': got .*expected numbers.*categorical"),
        ('numeric = ["dpeth"]', r"dpeth"),
        ('clock = ["minute"]', r"\[interactions.context.clock\] 0: got 'minute'"),
        ('categorical = ["device", "device"]', "'device' is named twice"),
        ('categorical = ["value"]', "'value' is read already"),
        ('zone = "Mars/Olympus"', "no such time zone"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(
    tmp_path: Path, toml: str, message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        write_sources(prepare(tmp_path, f"[interactions.context]\n{toml}\n"))


def test_prepared_events_hold_the_context(workspace: Workspace) -> None:
    prepared = pl.read_parquet(workspace.source(INTERACTIONS))
    assert prepared["context__device"].null_count() == 100
    assert prepared["context__depth"].null_count() == 76
