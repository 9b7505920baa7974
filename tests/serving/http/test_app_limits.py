"""Each limit's excess is refused with a reason that names the limit; nothing waits for ever."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from serving.answers import OVERLOADED
from serving.http.app import create_app
from serving.http.body import MAX_ID_CHARACTERS, MAX_N, MAX_TEXT_CHARACTERS
from serving.http.library import Library
from serving.http.requests import (
    MAX_EVENTS,
    MAX_EXCLUDE,
    MAX_INPUTS,
    MAX_ITEM_IDS,
    MAX_WAIT_MS,
)
from serving.http.settings import ServiceSettings
from serving.http.work_queue import DeadlineExceededError, WorkQueue
from serving.recommender import Recommender
from tests.serving.http.service_process import Service, serving_here
from tests.waiting import PATIENCE_S, wait_until

LONG_TEXT = "x" * (MAX_TEXT_CHARACTERS + 1)
LONG_ID = "i" * (MAX_ID_CHARACTERS + 1)
EVENT = {"user_id": "u1", "item_id": "f1", "value": 4, "event_timestamp": "2024-05-01T00:00:00Z"}
BODY_LIMIT = 400_000

EXCESSES = {
    "n": ("/recommend", {"user_id": "u1", "n": MAX_N + 1}, MAX_N),
    "no n": ("/similar", {"item_id": "f1", "n": 0}, 1),
    "exclude": ("/recommend", {"user_id": "u1", "exclude": ["a"] * (MAX_EXCLUDE + 1)}, MAX_EXCLUDE),
    "query": ("/recommend", {"user_id": "u1", "query": LONG_TEXT}, MAX_TEXT_CHARACTERS),
    "user_id": ("/recommend", {"user_id": LONG_ID}, MAX_ID_CHARACTERS),
    "item_ids": ("/rank", {"user_id": "u1", "item_ids": ["a"] * (MAX_ITEM_IDS + 1)}, MAX_ITEM_IDS),
    "item_id": ("/rank", {"user_id": "u1", "item_ids": [LONG_ID]}, MAX_ID_CHARACTERS),
    "text": ("/similar", {"text": LONG_TEXT}, MAX_TEXT_CHARACTERS),
    "events": ("/events", {"events": [EVENT] * (MAX_EVENTS + 1)}, MAX_EVENTS),
    "event's id": ("/events", {"events": [EVENT | {"event_id": LONG_ID}]}, MAX_ID_CHARACTERS),
    "wait_ms": ("/events", {"events": [EVENT], "wait_ms": MAX_WAIT_MS + 1}, MAX_WAIT_MS),
    "inputs": ("/v1/embeddings", {"input": ["a"] * (MAX_INPUTS + 1)}, MAX_INPUTS),
    "input": ("/v1/embeddings", {"input": LONG_TEXT}, MAX_TEXT_CHARACTERS),
    "dimensions": ("/v1/embeddings", {"input": "a", "dimensions": 385}, 384),
}

MALFORMED = {
    "no JSON": b'{"user_id": ',
    "no UTF-8": b'{"user_id": "\xff"}',
    "half a surrogate pair": b'{"user_id": "\\ud800"}',
    "not a number": b'{"user_id": "u1", "n": NaN}',
    "infinite": b'{"user_id": "u1", "n": 1e999}',
    "huge": b'{"user_id": "u1", "n": 1' + b"0" * 5_000 + b"}",
    "large": b'{"user_id": "u1", "n": 1' + b"0" * 500 + b"}",
    "deep": b"[" * 100_000,
    "a list": b"[]",
    "nothing": b"",
    "unknown key": b'{"user_id": "u1", "N": 3}',
    "blank query": b'{"user_id": "u1", "query": " "}',
}


@pytest.fixture(scope="module")
def service(library: Library) -> Iterator[Service]:
    settings = ServiceSettings(
        max_body_bytes=BODY_LIMIT, max_concurrency=3, body_timeout_ms=60_000, log_requests=False
    )
    with serving_here(create_app(*library, settings)) as served:
        yield served


@pytest.mark.parametrize("excess", EXCESSES)
def test_an_excess_is_refused_by_name(service: Service, excess: str) -> None:
    path, body, limit = EXCESSES[excess]
    answer = service.post(path, body)
    assert answer.status == 422
    assert str(limit) in answer.detail
    assert "xxx" not in answer.detail  # texts are not echoed


@pytest.mark.parametrize(
    ("condition", "position"),
    [("year <", 7), ("year < 1980 and prize", 17), ("__import__('os')", 1), ("not " * 900, 3600)],
)
def test_a_wrong_filter_is_refused_with_its_position(
    service: Service, condition: str, position: int
) -> None:
    posted = [
        service.post("/recommend", {"user_id": "u3", "filter": condition}),
        service.post("/similar", {"item_id": "f3", "filter": condition}),
    ]
    got = service.get(f"/recommend/u3?{urlencode({'filter': condition})}")
    for answer, field in ((posted[0], "body"), (posted[1], "body"), (got, "query")):
        assert answer.status == 422
        (error,) = answer.json()["errors"]
        assert (error["field"], error["position"]) == (f"{field}.filter", position)
        assert answer.detail.startswith(f"{field}.filter: filter, character {position}: got ")


def test_a_filter_holds_on_every_route(service: Service) -> None:
    condition = "year < 1960 and 'Drama' in genres"
    answers = [
        service.post("/recommend", {"user_id": "nobody", "n": 80, "filter": condition}),
        service.get(f"/recommend/nobody?n=80&{urlencode({'filter': condition})}"),
        service.post("/similar", {"text": "a drama", "n": 80, "filter": condition}),
    ]
    expected = {f"f{at}" for at in range(1, 9) if 0 in (at % 5, at // 5 % 5)}
    for answer in answers:
        assert {item["item_id"] for item in answer.json()["items"]} == expected


@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_malformed_body_is_a_problem_of_the_client(service: Service, malformed: str) -> None:
    headers = {"content-type": "application/json"}
    answer = service.ask("POST", "/recommend", MALFORMED[malformed], headers)
    assert answer.status in (400, 422)
    assert answer.detail


def test_no_json_is_refused_with_the_place_of_a_character(service: Service) -> None:
    headers = {"content-type": "application/json"}
    answer = service.ask("POST", "/recommend", b'{"user_id": "u1", "n": }', headers)
    (error,) = answer.json()["errors"]
    assert (error["field"], error["position"]) == ("body", 24)
    assert answer.detail.startswith("body: Got no valid JSON at character 24: ")


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/recommend/u3", "one of n, filter"),
        ("/users", "one of prefix"),
        ("/users/u3/history", "one of n"),
        ("/items/f1", "none"),
        ("/status", "none"),
        ("/v1/models", "none"),
    ],
)
def test_a_parameter_that_a_route_lacks_is_refused_with_those_that_it_has(
    service: Service, path: str, known: str
) -> None:
    refused = service.get(f"{path}?limit=3")
    assert refused.status == 422
    said = f"Got an unknown parameter, expected {known}."
    assert refused.json()["errors"] == [{"field": "query.limit", "detail": said}]
    assert service.get(path).status == 200


def test_a_scraper_may_bring_parameters(service: Service) -> None:
    assert service.get("/metrics?from=somewhere").status == 200


def test_the_guide_asks_for_what_the_service_takes(service: Service) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "how_to" / "serve.md").read_text()
    asked = re.findall(
        r"localhost:8000(/(?:recommend|rank|similar))\s[^']*'[^']*'[^']*'(.*?)'", guide
    )
    assert [path for path, _ in asked] == ["/recommend", "/rank", "/similar"]
    for path, body in asked:
        assert service.post(path, json.loads(body)).json()["items"]


def test_a_parameter_beside_a_body_is_refused_too(service: Service) -> None:
    refused = service.post("/recommend?n=3", {"user_id": "u3"})
    assert (refused.status, refused.detail) == (
        422,
        "query.n: Got an unknown parameter, expected none.",
    )


def test_unusable_requests_are_problems_too(service: Service) -> None:
    plain = {"content-type": "text/plain"}  # what a foreign web page may send unasked
    answers = {
        404: service.get("/no/such/route"),
        405: service.ask("DELETE", "/rank", None, {}),
        415: service.ask("POST", "/rank", b'{"user_id": "u1", "item_ids": ["f1"]}', plain),
        422: service.get(f"/recommend/u1?n={MAX_N + 1}"),
    }
    for status, answer in answers.items():
        assert answer.status == status
        assert answer.detail


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_before_it_is_parsed(service: Service, chunked: bool) -> None:
    text = json.dumps({"user_id": "u1", "query": "x" * BODY_LIMIT}).encode()
    pieces = iter([text[at : at + 50_000] for at in range(0, len(text), 50_000)])
    headers = {"content-type": "application/json"}
    answer = service.ask("POST", "/recommend", pieces if chunked else text, headers)
    assert answer.status == 413
    assert f"at most {BODY_LIMIT:,}" in answer.detail


def test_beyond_the_limit_at_once_is_refused_and_health_is_not(service: Service) -> None:
    body = json.dumps({"user_id": "u1"}).encode()
    with (
        service.begun("/recommend", body) as first,
        service.begun("/recommend", body) as second,
        service.begun("/recommend", body) as third,
    ):
        wait_until(lambda: service.n_in_flight == 3)
        refused = service.post("/recommend", {"user_id": "u1"})
        assert service.get("/health/ready").status == 200
        statuses = [finish().status for finish in (first, second, third)]
    assert refused.status == 429
    assert refused.headers["retry-after"] == "1"
    assert "at most 3" in refused.detail
    assert statuses == [200, 200, 200]
    assert service.post("/recommend", {"user_id": "u1"}).status == 200


def test_a_late_answer_and_a_slow_body_end_with_a_reason(library: Library) -> None:
    settings = ServiceSettings(deadline_ms=1, body_timeout_ms=100, log_requests=False)
    items = [f"f{i % 80}-{i}" for i in range(MAX_ITEM_IDS)]
    with serving_here(create_app(*library, settings)) as service:
        ranked = service.post("/rank", {"user_id": "u1", "item_ids": items})
        recommended = service.post("/recommend", {"user_id": "u1", "n": 5})
        late = service.post("/similar", {"text": "a text that nobody has encoded before"})
        with service.begun("/rank", b"{}") as finish:
            wait_until(lambda: service.metric("fusion_requests_in_flight") == 1)
            slow = finish()
    for answer in (ranked, recommended):
        assert answer.status == 200
        assert answer.json()["degraded"] is True
        assert answer.json()["reasons"] == [OVERLOADED]
    assert len(ranked.json()["items"]) == MAX_ITEM_IDS
    assert len(recommended.json()["items"]) == 5
    assert late.status == 503
    assert "within 1 ms" in late.detail
    assert late.headers["retry-after"] == "1"
    assert slow.status == 408
    assert "100 ms" in slow.detail


def test_an_unforeseen_failure_tells_nobody_what_was_asked(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, text: str, **__: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(Recommender, "similar", fail)
    with serving_here(create_app(*library, ServiceSettings())) as service:
        failed = service.post("/similar", {"text": "something private"})
    assert failed.status == 500
    assert "private" not in failed.detail + caplog.text
    assert "RuntimeError" in caplog.text
    assert "test_app_limits.py" in caplog.text  # where


def test_work_that_is_late_is_never_begun() -> None:
    queue = WorkQueue("test", 1)
    is_busy, may_end, begun = threading.Event(), threading.Event(), threading.Event()

    def occupy() -> bool:
        is_busy.set()
        return may_end.wait(60)

    async def fill() -> None:
        first = asyncio.create_task(queue.run(60, occupy))
        await asyncio.to_thread(is_busy.wait, 60)
        with pytest.raises(DeadlineExceededError, match="within 10 ms"):
            await queue.run(0.01, begun.set)
        may_end.set()
        assert await first

    asyncio.run(fill())
    queue.close()
    assert not begun.is_set()


def test_work_is_refused_at_once_where_too_much_is_before_it() -> None:
    queue = WorkQueue("test", 1)
    may_end, is_busy = threading.Event(), threading.Event()

    def occupy() -> bool:
        is_busy.set()
        return may_end.wait(60)

    async def crowd() -> None:
        for _ in range(30):  # it learns that a call takes some 20 ms
            await queue.run(60, lambda: time.sleep(0.02), begin_s=30)
        first = asyncio.create_task(queue.run(60, occupy))
        await asyncio.to_thread(is_busy.wait, 60)
        behind = [asyncio.create_task(queue.run(60, bool, begin_s=50)) for _ in range(1000)]
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceededError, match="not to be begun within 5000 ms"):
            await asyncio.wait_for(queue.run(60, bool, begin_s=5), timeout=PATIENCE_S)
        assert not first.done()  # nothing had to end for that
        may_end.set()
        assert await first
        assert not any(await asyncio.gather(*behind))

    asyncio.run(crowd())
    queue.close()


def test_an_error_of_the_work_itself_is_no_deadline() -> None:
    queue = WorkQueue("test", 1)

    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(queue.run(60, fail))
    queue.close()
