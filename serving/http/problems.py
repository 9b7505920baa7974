"""Errors as `application/problem+json` (RFC 9457): what was got, what was expected, the remedy."""

import json
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from feast_fusion.errors import FeatureNotFoundError, StoreUnavailableError
from serving.filters.filter_text import FilterError
from serving.http.request_ids import request_id
from serving.variety.spread import VarietyError

# Whether the request is to a route in OpenAI's form, whose clients look for `error`.
is_openai: ContextVar[bool] = ContextVar("is_openai", default=False)

_MEDIA_TYPE = "application/problem+json"
_RETRY = {"Retry-After": "1"}
_WITH_BODY = ("POST", "PATCH")
_MAX_ERRORS = 20  # of one request in one answer
_MAX_SHOWN = 40  # characters of a number that is echoed
_MAX_NAME = 200  # characters of the name of a field


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    field: str = Field(description="Where it is: body.n, query.n, body.events.0.value.")
    detail: str
    position: int | None = Field(
        default=None,
        description="Of a filter and of JSON: the character where it is wrong.",
    )


class OpenAIError(BaseModel):
    """The same once more, where OpenAI's clients look for it."""

    message: str
    type: str
    param: str | None
    code: str


class Problem(BaseModel):
    """The body of every error."""

    type: str = Field(description="about:blank: the status says what kind of problem it is.")
    title: str
    status: int
    detail: str = Field(description="What was got, what was expected, and the remedy.")
    request_id: str = Field(description="Of X-Request-ID; the service's log has it too.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="Of a request that is not valid."
    )
    error: OpenAIError | None = Field(default=None, description="Of a route under /v1.")


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.response = problem_response(status, detail, headers=headers, **more)


def problem_response(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """A problem as an answer; `more` are further members of its body."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    if is_openai.get():
        more["error"] = {"message": detail, "type": title, "param": None, "code": str(status)}
    body = json.dumps({**content, "request_id": request_id.get(), **more}, ensure_ascii=True)
    return Response(body, status, headers=dict(headers or {}), media_type=_MEDIA_TYPE)


def busy_response(status: int, detail: str) -> Response:
    """A problem that is worth another try a second later."""
    return problem_response(status, detail, headers=_RETRY)


def install_problems(app: FastAPI) -> None:
    """Errors of the application become problems; what else is raised is left to the gate."""
    app.add_exception_handler(ProblemError, _of_problem)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(FilterError, _of_filter)
    app.add_exception_handler(VarietyError, _of_variety)
    app.add_exception_handler(FeatureNotFoundError, _of_absence)
    app.add_exception_handler(StoreUnavailableError, _of_outage)


async def refuse_unknown_parameters(request: Request) -> None:
    """A dependency of every route: what a misspelt parameter meant would silently be left out."""
    known = [each.alias for each in request.scope["route"].dependant.query_params]
    unknown = [name for name in request.query_params if name not in known]
    if not unknown:
        return
    expected = f"one of {', '.join(known)}" if known else "none"
    detail = f"Got an unknown parameter, expected {expected}."
    fields = [
        {"field": f"query.{name[:_MAX_NAME]}", "detail": detail} for name in unknown[:_MAX_ERRORS]
    ]
    raise ProblemError(422, f"{fields[0]['field']}: {detail}", errors=fields)


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can end in these problems, for the OpenAPI schema."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs")
    content = {_MEDIA_TYPE: {"schema": schema}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


async def _of_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "There is no such route; /docs lists them."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"Got {request.method[:_MAX_SHOWN]}, expected another method; /docs lists them."
    return problem_response(error.status_code, detail, headers=error.headers)


async def _of_absence(_: Request, error: Exception) -> Response:
    return problem_response(404, str(error))


async def _of_filter(request: Request, error: Exception) -> Response:
    assert isinstance(error, FilterError)
    field = "query.filter" if request.method == "GET" else "body.filter"
    found = {"field": field, "detail": str(error), "position": error.position}
    return problem_response(422, f"{field}: {error}", errors=[found])


async def _of_variety(_: Request, error: Exception) -> Response:
    assert isinstance(error, VarietyError)
    field = f"body.{error.field}"
    return problem_response(
        422, f"{field}: {error}", errors=[{"field": field, "detail": str(error)}]
    )


async def _of_outage(_: Request, error: Exception) -> Response:
    return busy_response(503, str(error))


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found: Sequence[Any] = error.errors()
    content_type = request.headers.get("content-type", "")
    if found[0]["loc"] == ("body",) and "json" not in content_type and request.method in _WITH_BODY:
        return problem_response(415, "The body: got no JSON, expected application/json.")
    fields = [_field(one) for one in found[:_MAX_ERRORS]]
    detail = f"{fields[0]['field']}: {fields[0]['detail']}"
    if len(found) > 1:
        detail += f" And {len(found) - 1} more, the first {len(fields)} of all under errors."
    return problem_response(422, detail, errors=fields)


def _field(one: Mapping[str, Any]) -> dict[str, Any]:
    if one["type"] == "json_invalid":
        position = one["loc"][-1] + 1
        detail = f"Got no valid JSON at character {position}: {one['ctx']['error']}."
        return {"field": "body", "detail": detail, "position": position}
    return {"field": ".".join(map(str, one["loc"]))[:_MAX_NAME], "detail": _detail(one)}


def _detail(one: Mapping[str, Any]) -> str:
    """Pydantic's sentence and what was got, without echoing text."""
    message = one["msg"].removeprefix("Value error, ")
    return f"{message}; got {_described(one.get('input'))}."


def _described(value: object) -> str:
    if isinstance(value, bool | int | float) or value is None:
        # an integer of thousands of digits cannot be printed
        is_long = isinstance(value, int) and value.bit_length() > 128
        return "a very large integer" if is_long else json.dumps(value)[:_MAX_SHOWN]
    if isinstance(value, str | bytes):
        return f"text of {len(value):,} characters"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    return "an object"
