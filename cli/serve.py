"""`feast-fusion serve`: the recommender of a data set as an HTTP service."""

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
import uvicorn

from cli.feast_repository import open_store
from cli.redis import redis_of
from cli.terminal import say
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError, schema_error
from feast_fusion.tracing import exported_spans
from intake.workspace import Workspace
from transformations.names import SERVICE

if TYPE_CHECKING:
    from fastapi import FastAPI

    from serving.http.settings import ServiceSettings

_KEY_VARIABLE = "FUSION_API_KEY"
_TRACE_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OF_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
_FINISH_S = 30  # for what is in flight when asked to stop
_SWITCH_S = 0.0005  # the thread that takes requests waits this long for one that computes


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one."
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    help=f"The variable that holds the API key. Default: {_KEY_VARIABLE}, if there is one.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name by which it may be called; repeat for more. Default: without a key those of this "
    "machine, so that no web page can reach it by a name of its own; with a key any.",
)
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without an API key.")
@click.option("--rank-threads", type=click.IntRange(1, 64), help="Default: cores, at most 4.")
@click.option("--max-concurrency", type=click.IntRange(1), help="Requests at once; more: 429.")
@click.option("--deadline-ms", type=click.IntRange(1, 600_000), help="Of an answer; later: 503.")
@click.option("--max-body-bytes", type=click.IntRange(1), help="Of a request; larger: 413.")
@click.option("--docs/--no-docs", default=True, show_default=True, help="The page /docs.")
@click.option(
    "--log-served",
    default=0.0,
    type=click.FloatRange(0, 1),
    help="Share of answers whose features are kept for `audit skew`.",
)
@click.option(
    "--log-requests/--no-log-requests",
    default=True,
    show_default=True,
    help="A line of JSON per request on standard error, without ids or texts.",
)
@with_workspace
def serve(
    workspace: Workspace,
    /,
    host: str,
    port: int,
    api_key_env: str | None,
    allowed_hosts: tuple[str, ...],
    insecure: bool,
    log_served: float,
    **options: Any,
) -> None:
    """Answer over HTTP until interrupted: recommend, rank, similar, events, embeddings.

    One process with one model; it uses about one core. For more, start it again on another port
    with the same --home and REDIS_URL: the events of all of them meet there.
    """
    settings = _settings(api_key_env, options)
    if allowed_hosts or (settings.api_key is None and _is_loopback(host)):
        hosts = allowed_hosts or (*_OF_THIS_MACHINE, host)
        settings = settings.model_copy(update={"allowed_hosts": hosts})
    _check_exposure(host, settings, insecure)
    sys.setswitchinterval(_SWITCH_S)
    stop = _StopSignals()
    with stop.caught(), _listener(host, port) as listener:
        from serving.http.json_lines import log_json_lines

        log_json_lines()
        with _traces(), redis_of(workspace) as redis:
            # seconds to import: only where they are used
            from serving.http.app import create_app
            from serving.http.library import open_library

            with open_library(
                workspace, open_store(workspace, redis), SERVICE, log_served
            ) as parts:
                app = create_app(*parts, settings)
                log_json_lines()  # also of libraries that were loaded since
                gc.collect()
                gc.freeze()  # what is loaded stays: collecting among it would only delay requests
                _Server(_configure(app, settings), workspace.dataset.name, stop).run(
                    sockets=[listener]
                )
                gc.unfreeze()  # else what is frozen is reported as leaked when this process ends


class _StopSignals:
    """SIGTERM and SIGINT: they end the loading at once, and the service when it has finished."""

    def __init__(self) -> None:
        self.is_loading = True
        self.was_asked = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._note) for number in numbers]
        try:
            yield
        finally:
            for number, former in zip(numbers, before, strict=True):
                signal.signal(number, former)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        # The server catches signals itself and, when it has finished, raises them again for us.
        self.was_asked = True
        if self.is_loading:
            sys.exit(0)


class _Server(uvicorn.Server):
    """Says where it listens as soon as it does."""

    def __init__(self, config: uvicorn.Config, name: str, stop: _StopSignals) -> None:
        super().__init__(config)
        self._name = name
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._stop.is_loading = False
        self.should_exit |= self._stop.was_asked
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            at = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            say(f"Serving {self._name} at {at} (documentation: /docs; stop: Ctrl-C)")


def _configure(app: "FastAPI", settings: "ServiceSettings") -> uvicorn.Config:
    from serving.http.guarded_connection import guarded

    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # it would show user ids; the gate writes its own lines
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        http=guarded(settings),  # on h11: the faster parser takes headers of any length
        timeout_graceful_shutdown=_FINISH_S,
    )


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket: a port that is taken is found out before the model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise FeastFusionError(
                f"{host}:{port}: got {error.strerror}, expected an address of this machine and a "
                "free port. Choose another --host or --port."
            ) from None
        yield listener


def _settings(api_key_env: str | None, options: dict[str, Any]) -> "ServiceSettings":
    from pydantic import SecretStr

    from serving.http.settings import ServiceSettings

    key = os.environ.get(api_key_env or _KEY_VARIABLE, "").strip()
    if api_key_env is not None and not key:
        raise schema_error(
            "--api-key-env",
            got=f"{api_key_env}, which is not set or empty",
            expected="the name of a variable that holds the key",
            remedy="Set it, or leave the option out to ask for no key.",
        )
    given = {name: value for name, value in options.items() if value is not None}
    return ServiceSettings(api_key=SecretStr(key) if key else None, **given)


def _check_exposure(host: str, settings: "ServiceSettings", insecure: bool) -> None:
    """Refuse to let everyone who reaches this machine read and write."""
    if _is_loopback(host) or settings.api_key is not None or insecure:
        return
    raise schema_error(
        "--host",
        got=f"{host}, which others can reach, and no API key",
        expected="127.0.0.1, or an API key",
        remedy=f"Set {_KEY_VARIABLE}, or say --insecure if something else guards the address.",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _traces() -> AbstractContextManager[None]:
    """Spans, where a variable of OpenTelemetry names somebody who takes them."""
    return exported_spans() if any(map(os.environ.get, _TRACE_VARIABLES)) else nullcontext()
