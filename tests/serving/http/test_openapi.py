"""Whatever fits the published schema, and much that does not, is answered without a failure."""

from collections.abc import Sequence

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
        "POST /v1/embeddings",
        "GET /health/ready",
        "GET /metrics",
    } <= set(sent)


def test_a_planted_failure_is_found(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_as_number(*_: object, item_id: str | None, text: str | None, n: int) -> object:
        return int(item_id or text or "") * n

    monkeypatch.setattr(Recommender, "similar", read_as_number)
    with pytest.raises((Failure, FailureGroup), match="500"):
        check_operations(create_app(*library, SETTINGS), n_examples=25, paths=["/similar"])
