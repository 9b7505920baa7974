"""What a training run shows and records: its bar, its runs folder, and who of several tells it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.terminal import progress_bar
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureService

    from training.fitting import Epoch
    from training.processes import Processes


def processes_of_torchrun() -> "AbstractContextManager[Processes]":
    """The processes that torchrun started this one among; this one alone without torchrun."""
    from training.processes import joined

    rank, n, local = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return joined(int(rank or 0), int(n or 1), int(local or 0))


@contextmanager
def training_report(
    workspace: Workspace, service: "FeatureService", encoder_id: str | None, seed: int
) -> Iterator["Callable[[Epoch], None]"]:
    """What is called after each epoch: moves the bar, and writes to TensorBoard and MLflow.

    Raises
    ------
    MissingExtraError
        MLFLOW_TRACKING_URI is set and the package mlflow is not installed.
    """
    from training.tracking import Tracking, flattened

    settings = workspace.dataset.model_dump(mode="json", include={"ranker", "candidates"})
    parameters = flattened(settings) | {
        "seed": seed,
        "data": json.loads(workspace.manifest.read_text())["fingerprint"],
        "service": service.name,
        "registry_version": f"{service.last_updated_timestamp:%Y-%m-%dT%H:%M:%S.%f}",
        "encoder_id": encoder_id,
    }
    folder = workspace.runs / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    n_epochs = workspace.dataset.ranker.epochs
    with (
        Tracking(folder, workspace.dataset.name, parameters, uri) as tracking,
        progress_bar("Training") as advance,
    ):

        def report(epoch: "Epoch") -> None:
            told = f"loss {epoch.loss:.4f}, validation AUC {epoch.auc:.4f}"
            advance(told, epoch.number, n_epochs)
            metrics = {"train/loss": epoch.loss, "validation/auc": epoch.auc}
            tracking.log(metrics, epoch.number)

        yield report
