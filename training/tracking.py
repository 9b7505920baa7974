"""What a run was made of and how it went: for TensorBoard always, for MLflow where it is asked for.

TensorBoard reads the folder of a run: tensorboard --logdir .fusion/movielens/runs
"""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar, text

from feast_fusion.errors import missing_extra

if TYPE_CHECKING:
    from mlflow import MlflowClient

Parameters = Mapping[str, str | int | float | bool | None]


class Tracking:
    """Parameters and metrics of one run, in event files and perhaps on an MLflow server.

    Parameters
    ----------
    folder : for the event files of this run; its name names the run
    experiment : what MLflow files the run under
    mlflow_uri : None for TensorBoard only

    Raises
    ------
    MissingExtraError
        There is an `mlflow_uri` and no package mlflow.
    """

    def __init__(
        self, folder: Path, experiment: str, parameters: Parameters, mlflow_uri: str | None = None
    ) -> None:
        self._server = _Server(mlflow_uri, experiment, folder.name) if mlflow_uri else None
        folder.mkdir(parents=True)
        # not its SummaryWriter, whose queue is lost when the process is killed
        self._events = EventsWriter(str(folder / "events"))
        self._write(text("parameters", _as_table(parameters)), 0)
        if self._server:
            self._server.log_parameters(parameters)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics after a step, such as an epoch."""
        for name, value in metrics.items():
            self._write(scalar(name, value), step)
        if self._server:
            self._server.log(metrics, step)

    def _write(self, summary: Any, step: int) -> None:
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        self._events.flush()

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()
        if self._server:
            self._server.end("FAILED" if kind else "FINISHED")


class _Server:
    """A run on an MLflow server, or in a database that MLflow reads."""

    def __init__(self, uri: str, experiment: str, name: str) -> None:
        self._client = _open_client(uri)
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment)
        self._run: str = self._client.create_run(number, run_name=name).info.run_id

    def log_parameters(self, parameters: Parameters) -> None:
        for name, value in parameters.items():
            self._client.log_param(self._run, name, value)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, value, step=step)

    def end(self, status: str) -> None:
        self._client.set_terminated(self._run, status)


def _open_client(uri: str) -> "MlflowClient":
    try:
        from mlflow import MlflowClient  # an extra of its own, and seconds to import
    except ImportError as error:
        raise missing_extra("mlflow", "tracking") from error
    return MlflowClient(tracking_uri=uri)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names: {"a": {"b": 1}} is {"a.b": 1}; a list becomes text."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            is_plain = isinstance(value, (str, int, float, bool, type(None)))
            flat[f"{prefix}{name}"] = value if is_plain else str(value)
    return flat


def _as_table(parameters: Parameters) -> str:
    rows = (f"| {name} | {value} |" for name, value in parameters.items())
    return "\n".join(("| parameter | value |", "|---|---|", *rows))
