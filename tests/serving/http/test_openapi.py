"""Whatever fits the published schema, and much that does not, is answered without a failure."""

from collections.abc import Sequence
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.http.app import create_app
from serving.http.library import Library
from serving.http.settings import ServiceSettings
from serving.recommender import Recommender

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
USER, ITEM = "$response.body#/user_id", "$response.body#/items/0/item_id"
ACTED, ACTED_ON = "$request.body#/events/0/user_id", "$request.body#/events/0/item_id"
EVENT = {
    "user_id": USER,
    "item_id": ITEM,
    "event_timestamp": "2024-05-01T00:00:00Z",
    "value": 4,
}
# What a client does next with an answer: the path, and its body or parameters.
LINKS: dict[str, dict[str, dict[str, Any]]] = {
    "/recommend": {
        "/events": {"events": [EVENT]},
        "/rank": {"user_id": USER, "item_ids": [ITEM]},
    },
    "/events": {"/recommend": {"user_id": ACTED, "exclude": [ACTED_ON]}},
}
SETTINGS = ServiceSettings(deadline_ms=60_000, event_deadline_ms=60_000, log_requests=False)


def check_operations(app: FastAPI, n_examples: int, paths: Sequence[str] = ()) -> list[str]:
    """Send generated requests, valid and not, to every operation; its name for each sent one."""
    sent = []
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for found in schema.get_all_operations():
        operation = found.ok()
        if paths and operation.path not in paths:
            continue
        takes_input = any(True for _ in operation.iter_parameters()) or bool(operation.body)
        for mode in GenerationMode if takes_input else [GenerationMode.POSITIVE]:

            @settings(
                max_examples=n_examples,
                phases=[Phase.explicit, Phase.generate],
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Case) -> None:
                sent.append(case.operation.label)
                case.call_and_validate(checks=CHECKS)

            check()
    return sent


def test_no_request_makes_the_service_fail(library: Library) -> None:
    sent = check_operations(create_app(*library, SETTINGS), n_examples=25)
    assert {
        "POST /recommend",
        "GET /recommend/{user_id}",
        "POST /rank",
        "POST /similar",
        "POST /events",
        "POST /items",
        "PATCH /items/{item_id}",
        "DELETE /items/{item_id}",
        "POST /users",
        "PATCH /users/{user_id}",
        "POST /v1/embeddings",
        "GET /health/ready",
        "GET /metrics",
    } <= set(sent)


def follow_links(app: FastAPI, n_examples: int) -> list[str]:
    """Send chains of requests, each with what the answer before it named; the links followed."""
    published, followed = app.openapi(), []
    for path, links in LINKS.items():
        published["paths"][path]["post"]["responses"]["200"]["links"] = {
            f"to {target}": {
                "operationId": published["paths"][target]["post"]["operationId"],
                "requestBody": body,
            }
            for target, body in links.items()
        }

    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    paths = [*LINKS, *(target for links in LINKS.values() for target in links)]

    class Client(schema.include(path=paths).as_state_machine()):  # type: ignore[misc]
        def step(self, input: Any) -> Any:
            output = super().step(input)
            if input.transition is not None:
                followed.append(input.transition.id)
            return output

        def validate_response(self, response: Any, case: Case, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    Client.run(
        settings=settings(max_examples=n_examples, stateful_step_count=6, phases=[Phase.generate])
    )
    return followed


def test_what_an_answer_names_can_be_asked_for(library: Library) -> None:
    followed = follow_links(create_app(*library, SETTINGS), n_examples=60)
    assert set(followed) == {
        f"POST {path} -> [200] to {target} -> POST {target}"
        for path, links in LINKS.items()
        for target in links
    }


def test_a_planted_failure_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_as_number(*_: object, item_id: str | None, text: str | None, n: int) -> object:
        return int(item_id or text or "") * n

    monkeypatch.setattr(Recommender, "similar", read_as_number)
    with pytest.raises((Failure, FailureGroup), match="500"):
        check_operations(create_app(*library, SETTINGS), n_examples=25, paths=["/similar"])
