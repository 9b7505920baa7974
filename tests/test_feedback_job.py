"""Shown, clicked and bought on several devices: the whole way, and what a context changes."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from evaluation.protocol import next_positives
from feast_fusion.training_set import TrainingSet
from intake.journal_content import read_journal
from intake.workspace import Workspace
from serving.answers import Recommendations
from serving.assembly import open_recommender
from serving.past import PastRecommender
from serving.served_log import ServedLog
from tests.conftest import Project, open_project
from tests.datasets import BRIEF_CANDIDATES, START
from tests.serving.http.service_process import service_process
from tests.trained import before_test, served
from training.audit.context_skew import find_lost_context
from training.audit.skew_report import SkewReport
from training.split import split_rows
from transformations.collaborative.prepared_log import read_prepared_events
from transformations.names import EXAMPLES, INTERACTIONS

N_USERS, N_ITEMS, N_EVENTS = 40, 60, 2400
KINDS = ["odd", "even"]
PHONE = {"device": "phone"}
# The hour is a feature, and each has few examples: at 13 and at 23 what is asserted is not so.
ONE_NIGHT = datetime.now(UTC).replace(hour=1, minute=30) - timedelta(days=1)
TOML = """
name = "news"
[items]
path = "items.csv"
title = "title"
text = "{title}."
categorical = ["kind"]
[interactions]
path = "events.csv"
[interactions.types.impression]
positive = false
history = false
[interactions.types.click]
positive = true
[interactions.types.purchase]
positive = true
weight = 2.0
interest_weight = 2.0
objective = 0.1
[interactions.context]
categorical = ["device"]
clock = ["hour"]
[split]
by = "leave_one_out"
[activity]
history = 20
[ranker]
batch_size = 64
patience = 8
[encoder]
model = "sentence-transformers/all-MiniLM-L6-v2"
max_tokens = 32
"""


def make_news(folder: Path) -> Path:
    """CSV files of items and of what was shown; on a phone even items are taken, else odd ones."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    item, on_phone = rng.integers(0, N_ITEMS, N_EVENTS), rng.random(N_EVENTS) < 0.5
    taken = ((item % 2 == 0) == on_phone) != (rng.random(N_EVENTS) < 0.05)
    bought = taken & (rng.random(N_EVENTS) < 0.3)
    minutes = np.sort(rng.integers(0, 60 * 24 * 40, N_EVENTS))
    times = [(START + timedelta(minutes=int(m))).isoformat() for m in minutes]
    pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in rng.integers(0, N_USERS, N_EVENTS)],
            "item_id": [f"i{i}" for i in item],
            "event_timestamp": times,
            "event_type": np.where(bought, "purchase", np.where(taken, "click", "impression")),
            "device": np.where(on_phone, "phone", "desktop"),
        }
    ).write_csv(folder / "events.csv")
    pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(N_ITEMS)],
            "event_timestamp": (START - timedelta(days=9)).isoformat(),
            "title": [f"Story number {i}" for i in range(N_ITEMS)],
            "kind": [KINDS[i % 2 == 0] for i in range(N_ITEMS)],
        }
    ).write_csv(folder / "items.csv")
    (folder / "dataset.toml").write_text(TOML + BRIEF_CANDIDATES)
    return folder / "dataset.toml"


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("news")
    project = open_project(make_news(folder / "data"), folder / "home")
    said = project.here("run").stdout
    assert said.count("Leakage audit: 0 findings") == 2, said
    assert "computed anew" not in said, "a first run has no earlier history"
    return project


def test_the_context_decides_and_each_users_last_events_test(news: Project) -> None:
    """Device and kind together say what is taken; neither does alone."""
    workspace, how = news.workspace, news.workspace.dataset.split
    assert json.loads(workspace.summary.read_text())["test_auc"] > 0.8
    rows = TrainingSet.open(workspace.training_set)
    assert len(rows) == N_EVENTS
    users = pl.DataFrame(rows.table.select(["user_id", "event_timestamp"]))
    newest = users.group_by("user_id").agg(pl.col("event_timestamp").max()).sort("user_id")
    assert users[split_rows(rows.table, how).test].unique().sort("user_id").equals(newest)
    before = before_test(workspace).require_next_item()
    events = read_prepared_events(workspace)
    asked = next_positives(events, repeats=True, limit=None, how=how)
    assert len(asked) == N_USERS
    assert before.fitted_until == events.time[asked.fitted_rows].max()


def buying(workspace: Workspace) -> Workspace:
    """With nothing in the order but purchases."""
    interactions = workspace.dataset.interactions
    purchase = interactions.types["purchase"].model_copy(update={"objective": 1e6})
    types = {**interactions.types, "purchase": purchase}
    changed = interactions.model_copy(update={"types": types})
    dataset = workspace.dataset.model_copy(update={"interactions": changed})
    return replace(workspace, dataset=dataset)


def even_and_odd(answer: Recommendations) -> tuple[float, float]:
    """The mean probability of being liked of even and of odd items."""
    liked = {item.item_id: item.liked or 0.0 for item in answer.items}
    even, odd = ([p for i, p in liked.items() if int(i[1:]) % 2 == rest] for rest in (0, 1))
    return float(np.mean(even)), float(np.mean(odd))


def test_a_request_is_answered_by_its_context_which_the_log_keeps(news: Project) -> None:
    workspace = news.workspace
    had, shown = (
        pl.read_parquet(workspace.source(name)).filter(pl.col("user_id") == "u1")
        for name in (INTERACTIONS, EXAMPLES)
    )
    assert {*had["event_type"]} == {"click", "purchase"}
    assert {*shown["event_type"]} == {"impression"}
    with embedded_redis(workspace.redis) as redis:
        store = open_store(workspace, connection_string(redis.url))
        with (
            ServedLog(workspace.served, 1.0) as log,
            open_recommender(
                workspace, store, served_log=log, clock=lambda: ONE_NIGHT
            ) as recommender,
        ):
            phone, desktop = (
                recommender.recommend("u1", N_ITEMS, context={"device": device})
                for device in ("phone", "desktop")
            )
            ranked = recommender.rank("u1", [f"i{i}" for i in range(30)], context=PHONE)
        with open_recommender(buying(workspace), store) as recommender:
            only_bought = recommender.recommend("u1", N_ITEMS, context=PHONE)
        news.here("audit", "skew")
    for answer, sign in ((phone, 1), (desktop, -1), (ranked, 1)):
        even, odd = even_and_odd(answer)
        assert sign * (even - odd) > 0.3
    found = {item.item_id for item in phone.items}
    own, only_shown = {*had["item_id"]}, {*shown["item_id"]} - {*had["item_id"]}
    assert not found & own, "what the user took is not recommended again"
    assert only_shown and only_shown <= found, "what was only shown still is"
    for item in phone.items:
        assert item.outcomes is not None and 0 < item.outcomes["purchase"] < 1
    bought = [item.outcomes["purchase"] for item in only_bought.items if item.outcomes]
    assert bought == sorted(bought, reverse=True), "by a weight that leaves nothing else to say"
    served = pl.concat(pl.read_parquet(path) for path in workspace.served.glob("*.parquet"))
    assert sorted(served["context__device"].to_list()) == ["desktop"] * 10 + ["phone"] * 20
    assert served["context__hour"].null_count() == 0


def test_the_past_is_asked_in_the_context_of_its_events(news: Project) -> None:
    workspace = news.workspace
    artifact = served(workspace)
    past = PastRecommender(workspace, open_store(workspace), artifact)
    events = read_prepared_events(workspace)
    rows = np.arange(5, len(events), 97)
    raw = pl.read_csv(workspace.dataset.path.parent / "events.csv", try_parse_dates=True)
    keys = ["event_timestamp", "user_id", "item_id"]
    taken = raw.filter(pl.col("event_type") != "impression").sort(keys)
    assert past.contexts(rows)["context__device"].to_pylist() == taken["device"][rows].to_list()
    at = START + timedelta(days=50)
    for device, sign in (("phone", 1), ("desktop", -1)):
        even, odd = even_and_odd(past.recommend("u1", at, N_ITEMS, context={"device": device}))
        assert sign * (even - odd) > 0.3


def test_a_context_that_requests_never_give_is_found(news: Project) -> None:
    trained = TrainingSet.open(news.workspace.training_set).table
    silent = pa.table({"context__device": pa.nulls(30, pa.string())})
    (sentence,) = find_lost_context(silent, trained, ["device"])
    assert sentence.startswith("context 'device': absent in 100% of the served rows and 0% of the")
    assert not [*find_lost_context(trained, trained, ["device"])]
    report = SkewReport(30, 0, (), (sentence,))
    assert not report.is_clean and sentence in report.lines()


def test_an_unknown_name_of_the_command_is_refused(news: Project) -> None:
    done = news.here("recommend", "u1", "--context", "devise=phone", fails=True)
    assert "context 'devise': got an unknown key, expected device" in done.stderr


def test_the_service_reads_and_keeps_the_context(news: Project, tmp_path: Path) -> None:
    with (
        embedded_redis(news.workspace.redis) as redis,
        service_process(news, tmp_path / "log", REDIS_URL=redis.url) as started,
    ):
        service = started.service
        ask = {"user_id": "u2", "n": 5, "context": PHONE}
        assert service.post("/recommend", ask).json()["user"] == "known"
        for path, more in (("/recommend", {}), ("/rank", {"item_ids": ["i1"], "n": None})):
            asked = {"user_id": "u2", "context": {"devise": "phone"}, **more}
            refused = service.post(path, {k: v for k, v in asked.items() if v is not None})
            assert refused.status == 422
            assert "context 'devise': got an unknown key" in refused.json()["detail"]
        event = {
            "user_id": "u2",
            "item_id": "i1",
            "event_timestamp": datetime.now(UTC).isoformat(),
        }
        posted = [
            event | {"event_type": "click", "context": {"device": "tv"}},
            event | {"event_type": "impression"},
            event | {"event_type": "glance"},
            event | {"event_type": "click", "context": {"colour": "red"}},
        ]
        answer = service.post("/events", {"events": posted, "wait_ms": 2000}).json()
    statuses = [each["status"] for each in answer["outcomes"]]
    assert statuses == ["accepted", "accepted", "rejected", "rejected"]
    journal = read_journal(news.workspace.events)
    assert journal["context"].to_pylist() == ['{"device":"tv"}', None]
