"""What `serve` serves, as its processes are told."""

from dataclasses import dataclass
from pathlib import Path

from intake.workspace import Workspace
from serving.http.settings import ServiceSettings


@dataclass(frozen=True)
class Service:
    """What is served, and how; the same for each of several processes.

    Attributes
    ----------
    log_served : share of answers whose features are kept
    metrics : folder in which the processes of one port find each other; None for one alone
    """

    workspace: Workspace
    settings: ServiceSettings
    log_served: float
    metrics: Path | None = None
