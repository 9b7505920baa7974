"""The real process on the films data set: what it answers, what it keeps, how it ends."""

import asyncio
import base64
import json
import os
import re
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import openai
import polars as pl
import pytest

from cli.embedded_redis import redis_status
from cli.redis_process import RunningRedis
from feast_fusion.client import AsyncClient, Client, ServiceError
from feast_fusion.client.replies import Recommendations
from feast_fusion.encoding.vector_cache import Vectors
from intake.journal_content import read_journal
from tests.conftest import Project
from tests.serving.http.operate_pages import FOLDER, Exported, alerts, expressions, panels
from tests.serving.http.service_process import (
    KEY,
    Service,
    ServiceProcess,
    copy_project,
    service_process,
)
from tests.serving.http.trace_collector import Collector, attributes, collecting
from tests.waiting import wait_until

QUERY = "a western with an unmistakable title"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as started:
        yield started


@pytest.fixture(scope="module")
def running(
    served_films: Project,
    films_redis: RunningRedis,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServiceProcess]:
    log = tmp_path_factory.mktemp("service") / "log"
    variables = {
        "REDIS_URL": films_redis.url,
        "FUSION_API_KEY": KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with service_process(served_films, log, **variables) as started:
        yield started
        assert started.stop() == 0, log.read_text()


@pytest.fixture
def service(running: ServiceProcess) -> Service:
    return running.service


def liked(user_id: str, item_id: str, **more: object) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    return {"user_id": user_id, "item_id": item_id, "value": 5, "event_timestamp": now, **more}


def test_recommends_n_items_by_either_method(service: Service) -> None:
    posted = service.post("/recommend", {"user_id": "u3", "n": 4}).json()
    got = service.get("/recommend/u3?n=4").json()
    assert len(posted["items"]) == 4
    for one, other in zip(posted["items"], got["items"], strict=True):  # an instant later
        assert (one["item_id"], one["sources"]) == (other["item_id"], other["sources"])
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)
    assert posted["user"] == "known"
    assert not posted["degraded"]


def test_an_unknown_user_gets_flagged_items_and_exclusions_hold(service: Service) -> None:
    first = service.post("/recommend", {"user_id": "never seen", "n": 5}).json()
    items = [item["item_id"] for item in first["items"]]
    asked = {"user_id": "never seen", "n": 5, "exclude": items, "query": QUERY, "explain": True}
    second = service.post("/recommend", asked).json()
    assert first["user"] == "unknown"
    assert not set(items) & {item["item_id"] for item in second["items"]}
    assert all(item["reasons"] for item in second["items"])


def test_an_id_may_hold_any_character(service: Service) -> None:
    name = "用户/a b?c"
    answer = service.get("/recommend/%E7%94%A8%E6%88%B7%2Fa%20b%3Fc?n=1")
    assert answer.json()["user_id"] == name


def test_ranks_exactly_the_given_items(service: Service) -> None:
    given = [f"f{i}" for i in range(20)] + ["no such film"]
    answer = service.post("/rank", {"user_id": "u3", "item_ids": given}).json()
    scores = [item["score"] for item in answer["items"]]
    assert sorted(item["item_id"] for item in answer["items"]) == sorted(given)
    assert scores == sorted(scores, reverse=True)


def test_similar_by_item_and_by_text(service: Service) -> None:
    by_item = service.post("/similar", {"item_id": "f1", "n": 3}).json()["items"]
    by_text = service.post("/similar", {"text": by_item[0]["title"], "n": 1}).json()["items"]
    assert len(by_item) == 3
    assert "f1" not in {item["item_id"] for item in by_item}
    assert by_text[0]["cosine"] > 0.5
    absent = service.post("/similar", {"item_id": "no such film"})
    assert absent.status == 404
    assert "'no such film'" in absent.detail


def test_an_event_is_kept_and_moves_the_next_answer(
    service: Service, served_films: Project
) -> None:
    best = service.get("/recommend/u7?n=1").json()["items"][0]["item_id"]
    event = liked("u7", best, event_id="moved-1")
    first = service.post("/events", {"events": [event], "wait_ms": 2_000}).json()
    again = service.post("/events", {"events": [event]}).json()
    after = service.get("/recommend/u7?n=50").json()["items"]
    assert first == {
        "outcomes": [{"status": "accepted", "event_id": "moved-1", "reason": None}],
        "applied": True,
    }
    assert again["outcomes"][0]["status"] == "duplicate"
    assert best not in {item["item_id"] for item in after}
    journal = read_journal(served_films.workspace.events)["event_id"].to_pylist()
    assert journal.count("moved-1") == 1


def test_bad_events_are_rejected_one_by_one(service: Service) -> None:
    events = [liked("u8", "f1"), liked("u8", "no such film"), {"user_id": "u8"}, "not an event"]
    mixed = service.post("/events", {"events": events}).json()["outcomes"]
    assert [one["status"] for one in mixed] == ["accepted", "rejected", "rejected", "rejected"]
    assert mixed[1]["reason"] == "unknown item_id"
    none = service.post("/events", {"events": events[1:]})
    assert none.status == 422
    assert "unknown item_id" in none.detail
    assert service.metric('fusion_events_total{outcome="rejected"}') >= 6


def test_embeddings_in_the_shape_of_openai(service: Service) -> None:
    asked = {"input": ["hello world", QUERY], "model": "sentence-transformers/all-MiniLM-L6-v2"}
    plain = service.post("/v1/embeddings", asked).json()
    packed = service.post("/v1/embeddings", asked | {"encoding_format": "base64"}).json()
    single = service.post("/v1/embeddings", {"input": "hello world"}).json()
    vectors = np.array([one["embedding"] for one in plain["data"]], dtype=np.float32)
    unpacked = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed["data"]]
    np.testing.assert_array_equal(vectors, np.stack(unpacked))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(single["data"][0]["embedding"], vectors[0], atol=1e-2)
    assert plain["object"] == "list"
    assert [one["index"] for one in plain["data"]] == [0, 1]
    assert single["usage"] == {"prompt_tokens": 4, "total_tokens": 4}  # with [CLS] and [SEP]


def test_the_client_of_openai_works_unchanged(service: Service) -> None:
    client = openai.OpenAI(
        base_url=f"http://127.0.0.1:{service.port}/v1", api_key=KEY, max_retries=0
    )
    names = [each.id for each in client.models.list()]
    assert names[:2] == ["sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"]

    def vector(model: str, **more: Any) -> Vectors:
        made = client.embeddings.create(model=model, input=["hello world"], **more)
        return np.array(made.data[0].embedding, dtype=np.float32)

    whole, cut = vector(names[0]), vector(names[1], dimensions=64)
    np.testing.assert_allclose(vector(names[2]), whole, atol=1e-6)
    np.testing.assert_allclose(cut, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)

    with pytest.raises(openai.NotFoundError, match="model: got another one, expected") as refused:
        vector("text-embedding-3-small")
    assert refused.value.type == "Not Found"
    with pytest.raises(openai.UnprocessableEntityError, match="expected 1 to 384"):
        vector(names[0], dimensions=385)
    stranger = openai.OpenAI(base_url=str(client.base_url), api_key="x", max_retries=0)
    with pytest.raises(openai.AuthenticationError, match="Got no valid API key"):
        stranger.models.list()


def test_the_page_of_routes_needs_nobody_else(service: Service) -> None:
    anyone = Service(service.port, {})
    page = anyone.get("/docs").body.decode()
    named = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page)
    assert len(named) == 4 and all(each.startswith("/") for each in named), named
    sizes = {each: len(anyone.get(each).body) for each in named}
    assert all(sizes.values()) and max(sizes.values()) > 1_000_000, sizes
    assert "//" not in re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    assert anyone.get("/docs/files/../../gate.py").status == 404


def test_our_own_clients_ask_everything(service: Service) -> None:
    url = f"http://127.0.0.1:{service.port}"
    with Client(url, api_key=KEY) as client:
        answer = client.recommend("u3", n=4, explain=True, request_id="click-1")
        assert len(answer.items) == 4 and answer.items[0].reasons and not answer.degraded
        ranked = client.rank("u3", [item.item_id for item in answer.items])
        assert {item.item_id for item in ranked.items} == {item.item_id for item in answer.items}
        assert len(client.similar(text=QUERY, n=3)) == 3
        for found in (
            client.recommend("nobody", n=80, filter="year <= 1952").items,
            client.similar(text=QUERY, n=80, filter="year <= 1952"),
        ):
            assert {item.item_id for item in found} == {"f1", "f2"}
        event = {"user_id": "u3", "item_id": answer.items[0].item_id, "value": 5, "event_id": "e9"}
        assert client.send_events([event], wait_ms=2000).outcomes[0].status == "accepted"
        assert client.send_events([event]).outcomes[0].status == "duplicate"
        with pytest.raises(ServiceError, match="unknown item_id") as refused:
            client.send_events([event | {"item_id": "none", "event_id": "e10"}], wait_ms=0)
        assert refused.value.status == 422 and refused.value.request_id
        again = client.recommend("u3", n=4)
        weighed = client.recommend("u3", n=4, objective={"satisfaction": 100}, model=again.model)
        assert weighed.items != again.items and weighed.model == again.model
        assert client.item("f1").item["year"] == 1951
        newest = client.history("u3", n=1)[0]
        assert (newest.item_id, newest.value) == (answer.items[0].item_id, 5)
    assert answer.items[0].item_id not in {item.item_id for item in again.items}

    async def ask() -> tuple[Recommendations, ...]:
        async with AsyncClient(url, api_key=KEY) as client:
            return tuple(await asyncio.gather(*(client.recommend("u3", n=4) for _ in range(4))))

    for one in asyncio.run(ask()):  # later by seconds, which may turn a near tie
        assert len(one.items) == 4 and not one.degraded
        assert one.items[0].item_id == again.items[0].item_id


def test_answers_are_spread_as_asked_and_what_cannot_be_is_refused_by_name(
    service: Service, films: Project
) -> None:
    table = pl.read_parquet(films.workspace.dataset.folder / "items.parquet")
    genres = dict(zip(table["item_id"].to_list(), table["genres"].to_list(), strict=True))
    with Client(f"http://127.0.0.1:{service.port}", api_key=KEY) as client:
        asked = {"max_per": {"genres": 1}, "diversity": 0.5, "calibrated": {"genres": 0.2}}
        asked["explore"] = 0.4
        first, again = (
            client.recommend("u4", n=5, variety=asked, request_id="again") for _ in range(2)
        )
        counts = Counter(genre for item in first.items for genre in genres[item.item_id] or [])
        assert set(counts.values()) == {1}
        assert first.items[0].propensity == 1
        assert [each.item_id for each in again.items] == [each.item_id for each in first.items]
        for wrong, words in (
            ({"max_per": {"year": 2}}, "body.max_per: got column 'year'"),
            ({"calibrated": {"genres": 1.5}}, "body.calibrated.genres"),
            ({"diversity": -0.1}, "body.diversity"),
            ({"max_per": {"genres": 0}}, "body.max_per.genres"),
        ):
            with pytest.raises(ServiceError, match=words) as refused:
                client.recommend("u4", variety=wrong)
            assert refused.value.status == 422


def test_a_key_is_asked_of_all_but_health_and_documentation(service: Service) -> None:
    anyone = Service(service.port, {})
    for path in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert anyone.get(path).status == 200
    refused = anyone.get("/metrics")
    assert refused.status == 401
    assert KEY not in refused.detail
    assert anyone.get("/no/such/route").status == 401
    assert anyone.post("/rank", {}, authorization=f"Bearer {KEY}x").status == 401
    assert anyone.get("/metrics", authorization=f"bearer {KEY}").status == 200
    assert anyone.get("/metrics", **{"x-api-key": KEY}).status == 200


def test_a_paused_redis_degrades_answers_until_it_goes_on(
    running: ServiceProcess, service: Service, films_redis: RunningRedis
) -> None:
    before = service.metric("fusion_degraded_answers_total")
    os.kill(films_redis.pid, signal.SIGSTOP)
    try:
        named = {"x-request-id": "while-paused"}
        answer = service.post("/recommend", {"user_id": "u3", "n": 5}, **named)
        ready = service.get("/health/ready")
        kept = service.post("/events", {"events": [liked("u9", "f2", event_id="paused-1")]})
    finally:
        os.kill(films_redis.pid, signal.SIGCONT)
    assert answer.status == 200
    assert answer.json()["degraded"]
    assert answer.json()["reasons"] == ["online store unavailable"]
    assert len(answer.json()["items"]) == 5
    assert ready.status == 503
    assert "Not ready" in ready.detail
    assert service.metric("fusion_degraded_answers_total") > before
    assert kept.json()["outcomes"][0]["status"] == "accepted"
    warned = [line for line in running.lines() if line["logger"] == "serving.popular_answer"]
    assert [line["request_id"] for line in warned] == ["while-paused"]
    assert service.metric('fusion_redis_exchange_seconds_count{operation="read",outcome="failed"')
    wait_until(lambda: service.get("/health/ready").status == 200)
    wait_until(lambda: not service.post("/recommend", {"user_id": "u3"}).json()["degraded"])
    wait_until(lambda: service.metric("fusion_events_pending") == 0)


def test_requests_are_logged_without_what_they_say(running: ServiceProcess) -> None:
    private = ["private-user", "private-film", QUERY, KEY, "no such route"]
    running.service.post("/recommend", {"user_id": private[0], "query": QUERY})
    running.service.get(f"/recommend/{private[0]}")
    running.service.post("/rank", {"user_id": private[0], "item_ids": [private[1]], "n": QUERY})
    running.service.get("/no%20such%20route?q=private-film")
    running.service.get("/page/private-film.js")
    last = {"(none)", "/page/{file}"}
    wait_until(lambda: last <= {line.get("route") for line in running.lines()})
    lines, log = running.lines(), running.log.read_text()
    assert not [text for text in private if text in log]
    answered = [line for line in lines if line["logger"] == "serving.http.requests"]
    of_each = {"time", "level", "logger", "message"}
    assert all(of_each <= line.keys() for line in lines)
    of_each |= {"method", "route", "status", "request_id", "ms", "degraded"}
    assert all(of_each == line.keys() for line in answered)
    assert {"/rank", "/recommend", "(none)"} <= {line["route"] for line in answered}
    assert ("GET", "/page/{file}") in {(line["method"], line["route"]) for line in answered}


def test_a_request_is_a_part_of_its_callers_trace(service: Service, collector: Collector) -> None:
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    caller = {"traceparent": f"00-{trace}-{parent}-01"}
    words = "a private wish that nobody has encoded before"
    service.post("/recommend", {"user_id": "private-user", "query": words}, **caller)
    service.post("/events", {"events": [liked("private-user", "f3")]}, **caller)
    wait_until(lambda: len([s for s in collector.of_trace(trace) if s.kind == 2]) == 2)
    spans = collector.of_trace(trace)
    asked, posted = (s for s in spans if s.parent_span_id.hex() == parent)
    assert (asked.name, posted.name) == ("POST /recommend", "POST /events")
    assert attributes(asked)["http.response.status_code"] == 200
    assert {s.name for s in spans if s.parent_span_id == asked.span_id} == {
        "encode",
        "online_read",
        "candidates",
        "rank",
    }
    assert [s.name for s in spans if s.parent_span_id == posted.span_id] == ["journal"]
    assert all(b"private" not in body for body in collector.bodies)
    assert "feast-fusion" in str(collector.messages[0].resource_spans[0].resource)


def test_the_pages_for_operators_name_what_is_there(service: Service) -> None:
    service.post("/rank", {"user_id": "u1", "item_ids": ["f1"]})
    service.post("/recommend", {"user_id": "u1", "query": QUERY})
    service.post("/events", {"events": []})
    service.get("/health/ready")
    exported = Exported(service.get("/metrics").body.decode())
    page = (FOLDER / "observability.md").read_text()
    assert [row for row in page.splitlines() if row.startswith("| `fusion_")] == exported.rows()
    assert not [fault for asked in expressions() for fault in exported.faults(asked)]
    assert exported.faults('sum by (rout) (fusion_request{route="/rank"} + fusion_events_total)')
    assert exported.faults('fusion_events_total{outcome="kept"}')
    assert all(f"`{name}`" in page for name in alerts())
    assert len({panel["id"] for panel in panels()}) == len(panels())


def test_times_are_kept_by_route_and_status(service: Service) -> None:
    service.post("/rank", {"user_id": "u1", "item_ids": []})
    assert service.metric('fusion_request_seconds_count{route="/rank",status="422"}') >= 1


def test_asked_to_stop_it_finishes_what_it_accepted(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    body = json.dumps({"events": [liked("u10", "f3", event_id="last-1")]}).encode()
    assert redis_status(project.workspace.redis) is None
    with service_process(project, tmp_path / "log") as started:
        assert redis_status(project.workspace.redis) is not None
        service = started.service
        with service.begun("/events", body) as finish:
            wait_until(lambda: service.n_in_flight == 1)
            started.process.send_signal(signal.SIGINT)
            wait_until(lambda: _is_refused(service.port))
            answer = finish()
        assert started.process.wait(60) == 0, started.log.read_text()
        assert "leaked" not in started.log.read_text()
    assert answer.json()["outcomes"][0]["status"] == "accepted"
    assert "last-1" in read_journal(project.workspace.events)["event_id"].to_pylist()
    assert redis_status(project.workspace.redis) is None


def _is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
