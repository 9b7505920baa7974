"""Spans of OpenTelemetry around what takes time; before `exported_spans` nothing, and no import."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from feast_fusion.errors import schema_error

_NOTHING: AbstractContextManager[None] = nullcontext()
_tracer: Any = None


def is_traced() -> bool:
    """Whether spans are exported."""
    return _tracer is not None


def span(name: str, **options: Any) -> AbstractContextManager[Any]:
    """A span of the trace in which the block runs, None where none are exported.

    Of an error only the type is recorded: its message may hold what somebody asked for.

    Parameters
    ----------
    options : of the tracer's `start_as_current_span`
    """
    return _NOTHING if _tracer is None else _recorded(name, options)


@contextmanager
def _recorded(name: str, options: dict[str, Any]) -> Iterator[Any]:
    from opentelemetry.trace import StatusCode

    quiet = {"record_exception": False, "set_status_on_exception": False}
    with _tracer.start_as_current_span(name, **quiet, **options) as opened:
        try:
            yield opened
        except BaseException as error:
            opened.set_attribute("error.type", type(error).__name__)
            opened.set_status(StatusCode.ERROR)
            raise


@contextmanager
def exported_spans() -> Iterator[None]:
    """Spans of this process go where OpenTelemetry's variables say; at the end the last are sent.

    Raises
    ------
    SchemaError
        The exporter is not installed.
    """
    global _tracer
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise schema_error(
            "traces",
            got="an endpoint for them, and no exporter",
            expected="OpenTelemetry's SDK and its exporter for OTLP over HTTP",
            remedy="Install feast-fusion[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT.",
        ) from None
    resource = Resource.create()
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        ours = {"service.name": "feast-fusion", "service.version": version("feast-fusion")}
        resource = resource.merge(Resource(ours))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("feast_fusion")
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()
