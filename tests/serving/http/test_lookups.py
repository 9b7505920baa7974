"""What a person looks up, against the prepared tables read plainly; and how the service is."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from serving.http.app import create_app
from serving.http.library import Library
from serving.http.settings import ServiceSettings
from serving.http.status import Status
from tests.conftest import Project
from tests.serving.http.service_process import KEY, Service, serving_here
from tests.waiting import wait_until

SETTINGS = ServiceSettings(log_requests=False, deadline_ms=60_000, event_deadline_ms=60_000)


@pytest.fixture(scope="module")
def service(library: Library) -> Iterator[Service]:
    with serving_here(create_app(*library, SETTINGS)) as served:
        yield served


@pytest.fixture(scope="module")
def events(served_films: Project) -> pl.DataFrame:
    """The prepared ones, in their order."""
    path = served_films.workspace.source("interactions")
    return pl.read_parquet(path).sort("event_timestamp", "user_id", "item_id", maintain_order=True)


def recommended(service: Service, **asked: Any) -> Any:
    return service.post("/recommend", {"user_id": "u3", "n": 20, **asked}).json()


def test_an_item_has_its_columns_and_what_follows_from_its_events(
    service: Service, served_films: Project, events: pl.DataFrame
) -> None:
    found = service.get("/items/f21").json()
    row = pl.read_parquet(served_films.workspace.source("items")).filter(item_id="f21")
    assert found["item"] == row.drop("event_timestamp").to_dicts()[0]
    n_events = len(events.filter(item_id="f21"))
    assert found["statistics"]["item_n_events"] == n_events > 0
    assert (found["title"], found["attributes"]) == ("Film number 21", {})
    assert found["is_available"] and found["is_encoded"]
    absent = service.get("/items/no%20such%2Ffilm")
    assert absent.status == 404
    assert "'no such/film'" in absent.detail


def test_a_history_is_the_newest_events_first_and_live_ones_before_them(
    service: Service, events: pl.DataFrame
) -> None:
    found = service.get("/users/u11/history?n=4").json()
    newest = events.filter(user_id="u11").reverse().head(4)
    assert [event["item_id"] for event in found["events"]] == newest["item_id"].to_list()
    assert [event["value"] for event in found["events"]] == newest["value"].to_list()
    assert [event["positive"] for event in found["events"]] == newest["positive"].to_list()
    times = [datetime.fromisoformat(event["event_timestamp"]) for event in found["events"]]
    assert times == newest["event_timestamp"].to_list()
    assert found["events"][0]["title"] == f"Film number {newest['item_id'][0][1:]}"
    columns = service.get(f"/items/{newest['item_id'][0]}").json()["item"]
    assert found["events"][0]["columns"] == {
        name: columns[name] for name in ("year", "genres") if columns[name] is not None
    }

    now = datetime.now(UTC)
    event = {"user_id": "u11", "item_id": "f2", "value": 1, "event_timestamp": now.isoformat()}
    service.post("/events", {"events": [event]})

    def first() -> Any:
        return service.get("/users/u11/history?n=1").json()["events"][0]

    wait_until(lambda: first()["item_id"] == "f2")
    assert (first()["value"], first()["positive"]) == (1, False)
    assert service.get("/users/nobody/history").json() == {
        "user_id": "nobody",
        "user": "unknown",
        "events": [],
    }


def test_users_are_found_by_the_beginning_of_their_ids(
    service: Service, events: pl.DataFrame
) -> None:
    acted = events.select("user_id", "item_id")
    (had, *_), new = acted.filter(user_id="u12")["item_id"], "u1-who-came-just-now"
    live = [("u12", had), (new, had), (new, "f1"), (new, "f1"), ("u12", "f2")]
    now = {"value": 5, "event_timestamp": datetime.now(UTC).isoformat()}
    posted = [{"user_id": user, "item_id": item, **now} for user, item in live]
    assert service.post("/events", {"events": posted}).status == 200
    found = service.get("/users?prefix=u1").json()["users"]
    assert [user["user_id"] for user in found] == ["u1", *(f"u1{at}" for at in range(10)), new]
    every = pl.concat([acted, pl.DataFrame([*live, ("u11", "f2")], acted.schema, orient="row")])
    counts = dict(every.group_by("user_id").agg(pl.col("item_id").n_unique()).iter_rows())
    assert all(user["n_items"] == counts[user["user_id"]] for user in found)
    assert counts[new] == 2
    first = service.get("/users").json()["users"]
    assert [user["user_id"] for user in first] == [f"u{at}" for at in range(20)]
    assert service.get("/users?prefix=nobody").json() == {"users": []}


def test_a_request_may_weigh_what_its_order_serves(service: Service) -> None:
    usual, again = recommended(service), recommended(service, objective={})
    liked = recommended(service, objective={"satisfaction": 100})["items"]
    chances = [item["liked"] for item in liked]
    before = [item["liked"] for item in usual["items"]]
    assert [i["item_id"] for i in usual["items"]] == [i["item_id"] for i in again["items"]]
    assert max(later - sooner for sooner, later in pairwise(chances)) < 0.05
    assert any(later > sooner + 0.05 for sooner, later in pairwise(before))
    refused = service.post("/recommend", {"user_id": "u3", "objective": {"satisfaction": -1}})
    assert refused.status == 422


def test_a_version_may_be_asked_by_name(service: Service) -> None:
    (model,) = service.get("/status").json()["models"]
    assert (model["share"], model["is_shadow"]) == (1.0, False)
    assert recommended(service, model=model["name"])["model"] == model["name"]
    absent = service.post("/recommend", {"user_id": "u3", "model": "another"})
    assert absent.status == 404
    assert model["name"] in absent.detail


def test_the_status_says_what_a_person_asks_of_the_service(
    service: Service, served_films: Project, events: pl.DataFrame
) -> None:
    before = Status.model_validate_json(service.get("/status").body)
    recommended(service)
    after = Status.model_validate_json(service.get("/status").body)
    assert after.is_ready and after.missing is None
    assert after.latency["/recommend"].n == before.latency["/recommend"].n + 1
    asked = after.latency["/recommend"]
    assert asked.p50_ms and asked.p99_ms and 0 < asked.p50_ms <= asked.p99_ms
    assert after.redis.reads.n > before.redis.reads.n
    assert after.freshness.materialized_age_s["item_stats"] > 0
    dataset = after.dataset
    assert (dataset.name, dataset.n_items) == ("films", 80)
    assert dataset.explicit and dataset.rated
    assert dataset.value_range == (events["value"].min(), events["value"].max())
    assert [(each.name, each.kind) for each in dataset.columns] == [
        ("year", "number"),
        ("genres", "texts"),
    ]


def test_the_page_is_open_and_what_it_asks_is_not(library: Library) -> None:
    settings = SETTINGS.model_copy(update={"api_key": SecretStr(KEY)})
    with serving_here(create_app(*library, settings)) as service:
        page = service.get("/")
        assert page.status == 200
        assert page.headers["cache-control"] == "no-cache"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        files = re.findall(r'"(/page/[^"]+)"', page.body.decode())
        assert len(files) == 3  # icon, style, script
        for file in files:
            assert re.search(r"-[A-Z0-9]{8}\.", file), file
            answer = service.get(file)
            assert answer.status == 200 and answer.body
            assert "immutable" in answer.headers["cache-control"]
        for path in ("/status", "/users", "/users/u1/history", "/items/f1", "/page"):
            assert service.get(path).status == 401, path
        assert service.get("/page/../gate.py").status == 404
        assert service.get("/status", **{"x-api-key": KEY}).status == 200
