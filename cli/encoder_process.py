"""The process that encodes the texts of all processes of a service."""

import gc
import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from cli.service import Service
from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.host.encoder_host import EncoderHost
from feast_fusion.errors import FeastFusionError
from intake.workspace import Workspace, with_encoders_anew
from serving.http.encoder_metrics import EncoderMetrics
from serving.http.json_lines import log_json_lines
from serving.http.metric_peers import MetricPeers
from training.model_versions import ModelVersions
from training.promotions import Promotions
from transformations.embedder import Embedder

_log = logging.getLogger(__name__)

_NAME = "encoder"  # among the processes of the port


def run_encoders(service: Service, ready: Callable[[], object]) -> None:
    """Answer at the socket of `service.workspace.encoder_host` until a signal ends the process.

    Parameters
    ----------
    ready : called when it answers
    """
    log_json_lines()
    torch.set_num_threads(1)  # the cores are for those that answer
    workspace, path, folder = service.workspace, service.workspace.encoder_host, service.folder
    assert path is not None and folder is not None  # of several processes
    host = EncoderHost(partial(_opened, workspace))
    _load_in_use(host, workspace)
    log_json_lines()  # also of libraries that were loaded since
    gc.collect()
    gc.freeze()  # as in those that answer
    with MetricPeers(folder, _NAME) as peers, host.listening(path):
        peers.publish(_metrics_of(host))
        ready()
        signal.pause()


def _opened(workspace: Workspace, encoder_id: str) -> TextEncoder:
    """Of the encoders that are declared now, which may be others than when the process started."""
    now = replace(with_encoders_anew(workspace), encoder_host=None)
    return Embedder(now, encoder_id).cached.encoder


def _load_in_use(host: EncoderHost, workspace: Workspace) -> None:
    """Before anybody waits for them. One that fails is tried again when it is asked for."""
    try:
        versions = ModelVersions(workspace)
        found = {versions.find(name).encoder_id for name in Promotions(workspace).names()}
        for encoder_id in filter(None, found):
            host.load(encoder_id)
    except FeastFusionError as error:
        _log.warning("an encoder could not be loaded: %s", error)


def _metrics_of(host: EncoderHost) -> Callable[[], bytes]:
    registry = CollectorRegistry()
    registry.register(EncoderMetrics(lambda: host.stats))
    ProcessCollector(registry=registry)
    return lambda: generate_latest(registry)
