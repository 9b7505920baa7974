"""What a training run shows and records: its bar, its runs folder, and who of several tells it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.terminal import progress_bar
from feast_fusion.sealed_json import read_json
from intake.dataset import Dataset
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureService

    from training.fitting import Epoch
    from training.next_item import fitting as next_item
    from training.processes import Processes
    from training.tracking import Tracking


def processes_of_torchrun() -> "AbstractContextManager[Processes]":
    """The processes that torchrun started this one among; this one alone without torchrun."""
    from training.processes import joined

    rank, n, local = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return joined(int(rank or 0), int(n or 1), int(local or 0))


class TrainingReport:
    """What is called after each epoch: moves a bar, and writes to TensorBoard and MLflow."""

    def __init__(self, dataset: Dataset, tracking: "Tracking") -> None:
        self._dataset, self._tracking = dataset, tracking

    @contextmanager
    def of_ranker(self) -> Iterator["Callable[[Epoch], None]"]:
        """After each epoch of the ranker."""
        n_epochs = self._dataset.ranker.epochs
        with progress_bar("Training") as advance:

            def report(epoch: "Epoch") -> None:
                told = f"loss {epoch.loss:.4f}, AUC {epoch.auc:.4f}"
                advance(told, epoch.number, n_epochs)
                metrics = {"train/loss": epoch.loss, "validation/auc": epoch.auc}
                self._tracking.log(metrics, epoch.number)

            yield report

    @contextmanager
    def of_next_item(self) -> Iterator["Callable[[next_item.Epoch], None]"]:
        """After each epoch of a part of the next-item model."""
        from training.next_item.fitting import count_epochs

        n_epochs, done = count_epochs(self._dataset.candidates), dict[str, int]()
        with progress_bar("Next item") as advance:

            def report(epoch: "next_item.Epoch") -> None:
                done[epoch.part] = epoch.number
                advance(f"{epoch.part} loss {epoch.loss:.4f}", sum(done.values()), n_epochs)
                self._tracking.log({f"{epoch.part}/loss": epoch.loss}, epoch.number)

            yield report


@contextmanager
def training_report(
    workspace: Workspace, service: "FeatureService", encoder_id: str | None, seed: int
) -> Iterator[TrainingReport]:
    """The report of one training, which is a run of its own.

    Raises
    ------
    MissingExtraError
        MLFLOW_TRACKING_URI is set and the package mlflow is not installed.
    """
    from training.tracking import Tracking, flattened

    settings = workspace.dataset.model_dump(mode="json", include={"ranker", "candidates"})
    parameters = flattened(settings) | {
        "seed": seed,
        "data": read_json(workspace.manifest)["fingerprint"],
        "service": service.name,
        "registry_version": f"{service.last_updated_timestamp:%Y-%m-%dT%H:%M:%S.%f}",
        "encoder_id": encoder_id,
    }
    folder = workspace.runs / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    with Tracking(folder, workspace.dataset.name, parameters, uri) as tracking:
        yield TrainingReport(workspace.dataset, tracking)
