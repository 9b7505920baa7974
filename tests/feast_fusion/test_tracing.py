"""Spans are exported where somebody takes them; before that there is nothing of them."""

import subprocess
import sys

import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.tracing import exported_spans, is_traced, span
from tests.serving.http.trace_collector import attributes, collecting

UNTRACED = """
import sys
from feast_fusion.tracing import span
from serving.http.request_spans import request_span

with span("a") as one, request_span([(b"traceparent", b"x")]) as other:
    assert one is other is None
assert span("a") is span("b")
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""


def test_without_an_exporter_nothing_is_imported_or_made() -> None:
    subprocess.run([sys.executable, "-c", UNTRACED], check=True)


def test_a_failed_span_says_of_what_type_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with exported_spans():
            with pytest.raises(ValueError), span("outer"), span("inner"):
                raise ValueError("private")
            assert is_traced()
        inner, outer = collector.spans
    assert not is_traced()
    assert inner.parent_span_id == outer.span_id
    assert [attributes(each) for each in (inner, outer)] == [{"error.type": "ValueError"}] * 2
    assert [each.status.code for each in (inner, outer)] == [2, 2]
    assert not [body for body in collector.bodies if b"private" in body]


def test_the_service_names_itself_unless_the_operator_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        for given in ("", "shop"):
            monkeypatch.setenv("OTEL_SERVICE_NAME", given)
            with exported_spans(), span("a"):
                pass
        names = [
            {
                each.key: each.value.string_value
                for each in message.resource_spans[0].resource.attributes
            }
            for message in collector.messages
        ]
    assert [each["service.name"] for each in names] == ["feast-fusion", "shop"]


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SchemaError, match=r"Install feast-fusion\[otel\]"), exported_spans():
        pass
