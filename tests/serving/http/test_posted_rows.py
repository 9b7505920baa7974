"""Items that arrive by HTTP in the real service: found, bought, changed, withdrawn, durable."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cli.embedded_redis import start_redis, stop_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from feast_fusion.client import Client, ServiceError
from feast_fusion.column_names import vector_view
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.redis_matrix import online_store_of
from intake.workspace import Workspace
from tests.conftest import Project
from tests.serving.http.service_process import Service, copy_project, service_process
from tests.trained import served
from tests.waiting import wait_until
from transformations import names

NEW = {
    "item_id": "new/1",
    "title": "The unmistakable quokka of Perth",
    "year": 2031,
    "genres": ["Western", "Quokka"],
}
ONLY_NEW = "'Quokka' in genres"


@pytest.fixture
def project(films: Project, tmp_path: Path) -> Project:
    return copy_project(films, tmp_path / "home", tmp_path / "data")


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    yield start_redis(project.workspace.redis).url
    stop_redis(project.workspace.redis)


def item_ids(service: Service, user_id: str = "u1", **more: object) -> list[str]:
    answer = service.post("/recommend", {"user_id": user_id, "n": 500, **more})
    assert answer.status == 200, answer.body
    return [item["item_id"] for item in answer.json()["items"]]


def send(service: Service, method: str, path: str, body: object) -> dict[str, Any]:
    answer = service.ask(
        method, path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    assert {each["status"] for each in found["outcomes"]} == {"accepted"}, found
    return found


def online_vector(workspace: Workspace, url: str) -> Any:
    view = vector_view(names.ITEM_EMBEDDING, str(served(workspace).encoder_id))
    store = open_store(workspace, connection_string(url))
    rows = store.get_online_features(
        features=[f"{view}:{names.ITEM_EMBEDDING}"], entity_rows=[{"item_id": NEW["item_id"]}]
    ).to_dict()
    online_store_of(store).disconnect()
    return rows[names.ITEM_EMBEDDING][0]


def sink_times(workspace: Workspace) -> list[datetime]:
    view = vector_view(names.ITEM_EMBEDDING, str(served(workspace).encoder_id))
    rows = read_parquet(workspace.sink(view))
    chosen = rows.filter([each == NEW["item_id"] for each in rows["item_id"].to_pylist()])
    assert not chosen[names.ITEM_EMBEDDING].null_count
    return sorted(chosen["event_timestamp"].to_pylist())


def test_an_item_is_posted_found_bought_changed_and_withdrawn(
    project: Project, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = project.workspace
    with service_process(project, tmp_path / "log", REDIS_URL=url) as running:
        service = running.service
        assert item_ids(service, filter=ONLY_NEW) == []
        send(service, "POST", "/items", {"items": [NEW]})
        wait_until(lambda: item_ids(service, filter=ONLY_NEW) == [NEW["item_id"]])
        assert online_vector(workspace, url) is not None
        assert len(sink_times(workspace)) == 1
        near = service.post("/similar", {"text": "unmistakable quokka of Perth", "n": 3}).json()
        assert near["items"][0]["item_id"] == NEW["item_id"]
        assert NEW["item_id"] in item_ids(service, query="unmistakable quokka of Perth")

        send(service, "PATCH", "/items/new/1", {"changes": {"title": "A quokka again"}})
        ranked = {"user_id": "u1", "item_ids": [NEW["item_id"]]}
        wait_until(
            lambda: service.post("/rank", ranked).json()["items"][0]["title"] == "A quokka again"
        )
        assert len(sink_times(workspace)) == 2
        assert item_ids(service, filter="year == 2031") == [NEW["item_id"]]  # not changed

        bought = {"user_id": "u2", "item_id": NEW["item_id"], "value": 5.0}
        now = {"event_timestamp": datetime.now(UTC).isoformat()}
        assert item_ids(service, "u2", filter=ONLY_NEW) == [NEW["item_id"]]
        sent = {"events": [bought | now], "wait_ms": 2000}
        wait_until(lambda: service.post("/events", sent).status == 200)
        wait_until(lambda: item_ids(service, "u2", filter=ONLY_NEW) == [])
        assert item_ids(service, "u1", filter=ONLY_NEW) == [NEW["item_id"]]

        assert service.ask("DELETE", "/items/new/1?wait_ms=2000", None, {}).status == 200
        wait_until(lambda: item_ids(service, filter=ONLY_NEW) == [])
        assert_gone(service, workspace, url)
        assert service.ask("DELETE", "/items/new/1", None, {}).json()["outcomes"] == [
            {"status": "duplicate", "id": NEW["item_id"], "reason": None, "field": None}
        ]
        send(service, "POST", "/items", {"items": [{**NEW, "item_id": "kept"}]})
        wait_until(lambda: item_ids(service, filter=ONLY_NEW) == ["kept"])
        assert running.stop() == 0
    folded = read_parquet(workspace.source(names.ITEMS))
    project.here("prepare")
    assert read_parquet(workspace.source(names.ITEMS)).equals(folded)
    monkeypatch.setenv("REDIS_URL", url)
    project.here("refresh", "incremental")
    with service_process(project, tmp_path / "log2", REDIS_URL=url) as running:
        assert item_ids(running.service, filter=ONLY_NEW) == ["kept"]
        assert_gone(running.service, workspace, url)
        assert running.stop() == 0


def assert_gone(service: Service, workspace: Workspace, url: str) -> None:
    assert online_vector(workspace, url) is None
    assert service.post("/similar", {"item_id": NEW["item_id"]}).status == 404
    ranked = service.post("/rank", {"user_id": "u1", "item_ids": [NEW["item_id"], "f1"]}).json()
    unknown = next(each for each in ranked["items"] if each["item_id"] == NEW["item_id"])
    assert (unknown["title"], unknown["features"]) == (None, "none"), unknown


def test_a_row_that_a_killed_service_had_acknowledged_is_in_the_next_ones_answers(
    project: Project, url: str, tmp_path: Path
) -> None:
    preparing = FileLock(project.workspace.root / "sources.lock")  # it is journaled, and no more
    with service_process(project, tmp_path / "log", REDIS_URL=url) as running, preparing:
        assert not send(running.service, "POST", "/items", {"items": [NEW]})["applied"]
        running.process.kill()
        running.process.wait()
    with service_process(project, tmp_path / "log2", REDIS_URL=url) as again:
        wait_until(lambda: item_ids(again.service, filter=ONLY_NEW) == [NEW["item_id"]])
        assert online_vector(project.workspace, url) is not None
        check_users_and_refusals(again.service, project.workspace, url)
        assert again.stop() == 0


def check_users_and_refusals(service: Service, workspace: Workspace, url: str) -> None:
    with Client(f"http://127.0.0.1:{service.port}") as client:
        who = {"user_id": "somebody", "age": 33, "gender": "F"}
        late = {"item_id": "x", "title": "t", "event_timestamp": "2999-01-01T00:00:00Z"}
        old = {"item_id": "x", "title": "t", "event_timestamp": "2025-01-01T00:00:00Z"}
        found = client.post_items([old, late, {"title": "t"}, old], wait_ms=2000)
        assert [each.status for each in found.outcomes] == [
            *("accepted", "rejected", "rejected", "duplicate")
        ]
        assert client.post_users([who], wait_ms=2000).outcomes[0].status == "accepted"
        wait_until(lambda: online_age(workspace, url) == who["age"])
        known = {"users": [{"user_id": "somebody", "n_items": 0}]}
        wait_until(lambda: service.get("/users?prefix=some").json() == known)
        assert client.patch_item("x", {"year": 1}).outcomes[0].status == "accepted"
        assert client.delete_item("x").outcomes[0].status == "accepted"
        with pytest.raises(ServiceError, match="404: item 'x': got no such item"):
            client.patch_item("x", {"year": 2})
        with pytest.raises(ServiceError) as error:
            client.post_items([{"item_id": "y", "title": "t", "year": "old"}])
        assert error.value.errors == [
            {"field": "body.items.0.year", "detail": "year is text, expected a number"}
        ]
        with pytest.raises(ServiceError, match=r"items\.0\.isbn: unknown column, expected one"):
            client.post_items([{"isbn": "y", "title": "t"}])
        with pytest.raises(ServiceError, match=r"422: body\.changes\.colour: unknown column"):
            client.patch_item("f1", {"colour": "red"})
    assert service.metric('fusion_posted_rows_total{outcome="rejected",table="items"}') == 4


def online_age(workspace: Workspace, url: str) -> int | None:
    store = open_store(workspace, connection_string(url))
    rows = store.get_online_features(
        features=["user_profile:age"], entity_rows=[{"user_id": "somebody"}]
    ).to_dict()
    online_store_of(store).disconnect()
    age: int | None = rows["age"][0]
    return age
