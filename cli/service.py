"""What `serve` serves, as its processes are told."""

from dataclasses import dataclass, replace
from pathlib import Path

from intake.workspace import Workspace
from serving.http.settings import ServiceSettings


@dataclass(frozen=True)
class Service:
    """What is served, and how; the same for each of several processes.

    Attributes
    ----------
    log_served : share of answers whose features are kept
    folder : private, in which the processes of one port find each other; None for one alone
    """

    workspace: Workspace
    settings: ServiceSettings
    log_served: float
    folder: Path | None = None

    def in_folder(self, folder: Path) -> "Service":
        """The same for several processes: one of them encodes for all, at a socket in `folder`."""
        hosted = replace(self.workspace, encoder_host=folder / "encoders")
        return replace(self, workspace=hosted, folder=folder)
