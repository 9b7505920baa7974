"""The span of a request: a part of its caller's trace, and what our own spans are parts of."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from feast_fusion.tracing import is_traced, span
from serving.http.request_ids import request_id


def request_span(headers: Iterable[tuple[bytes, bytes]]) -> AbstractContextManager[Any]:
    """The span in which a request is answered, None where spans are not exported."""
    if not is_traced():
        return span("request")
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    said = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    parent = TraceContextTextMapPropagator().extract(said)
    return span("request", context=parent, kind=SpanKind.SERVER)


def describe_answer(opened: Any, method: str, route: str, status: int) -> None:
    """Say in a request's span how it was answered, in OpenTelemetry's names for HTTP."""
    if opened is None:
        return
    from opentelemetry.trace import StatusCode

    opened.update_name(f"{method} {route}")
    opened.set_attribute("http.request.method", method)
    opened.set_attribute("http.route", route)
    opened.set_attribute("http.response.status_code", status)
    opened.set_attribute("feast_fusion.request_id", request_id.get())
    if status >= 500:
        opened.set_status(StatusCode.ERROR)
