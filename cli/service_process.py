"""One process of the service: it loads what answers need, and answers until it is asked to stop."""

import gc
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import uvicorn
from fastapi import FastAPI

from cli.feast_repository import open_store
from cli.forgetting_child import ForgettingChild
from cli.service import Service
from cli.stop_signals import StopSignals
from feast_fusion.tracing import exported_spans
from serving.http.app import create_app
from serving.http.guarded_connection import guarded
from serving.http.json_lines import log_json_lines
from serving.http.library import open_library
from serving.http.metric_peers import MetricPeers
from serving.http.settings import ServiceSettings

_TRACE_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_FINISH_S = 30  # for what is in flight when asked to stop
_SWITCH_S = 0.0005  # the thread that takes requests waits this long for one that computes


def run_service(
    service: Service,
    redis: str,
    listener: socket.socket,
    stop: StopSignals,
    ready: Callable[[], object],
    name: str = "",
) -> None:
    """Answer at a bound socket until asked to stop.

    Parameters
    ----------
    redis : Feast's connection string
    ready : called when it answers
    name : of this process among those of the port
    """
    sys.setswitchinterval(_SWITCH_S)
    log_json_lines()
    store = open_store(service.workspace, redis)
    peers = MetricPeers(service.folder, name) if service.folder else None
    with (
        _traces(),
        peers or nullcontext(),
        open_library(service.workspace, store, service.log_served) as parts,
    ):
        remove = ForgettingChild(service.workspace).remove
        app = create_app(*parts, service.settings, peers, remove)
        log_json_lines()  # also of libraries that were loaded since
        gc.collect()
        gc.freeze()  # what is loaded stays: collecting among it would only delay requests
        _Server(_configure(app, service.settings), stop, ready).run(sockets=[listener])
        gc.unfreeze()  # else what is frozen is reported as leaked when this process ends


class _Server(uvicorn.Server):
    """Says when it listens."""

    def __init__(
        self, config: uvicorn.Config, stop: StopSignals, ready: Callable[[], object]
    ) -> None:
        super().__init__(config)
        self._stop, self._ready = stop, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._stop.is_loading = False
        self.should_exit |= self._stop.was_asked
        self._ready()


def _configure(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
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


def _traces() -> AbstractContextManager[None]:
    """Spans, where a variable of OpenTelemetry names somebody who takes them."""
    return exported_spans() if any(map(os.environ.get, _TRACE_VARIABLES)) else nullcontext()
