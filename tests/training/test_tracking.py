"""Parameters and metrics are in the event files that TensorBoard reads."""

import struct
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from feast_fusion.errors import MissingExtraError
from training.tracking import Tracking, flattened


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a run: each a length, its checksum, the message, and its checksum."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """Value by name and step."""
    return {
        (value.tag, event.step): value.simple_value
        for event in read_events(folder)
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    }


def texts(folder: Path) -> str:
    values = (value for event in read_events(folder) for value in event.summary.value)
    return "\n".join(v.tensor.string_val[0].decode() for v in values if v.tensor.string_val)


def test_metrics_and_parameters_are_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Tracking(run, "films", {"ranker.fusion": "gated", "seed": 3}) as tracking:
        tracking.log({"train/loss": 0.5, "validation/auc": 0.75}, 1)
        assert scalars(run)[("train/loss", 1)] == 0.5, "one who looks now sees it"
        tracking.log({"train/loss": 0.25}, 2)
    assert scalars(run) == {
        ("train/loss", 1): 0.5,
        ("validation/auc", 1): 0.75,
        ("train/loss", 2): 0.25,
    }
    assert "| ranker.fusion | gated |\n| seed | 3 |" in texts(run)


def test_nested_settings_have_dotted_names() -> None:
    nested = {"ranker": {"width": 8, "modalities": ["text"]}, "users": None}
    assert flattened(nested) == {
        "ranker.width": 8,
        "ranker.modalities": "['text']",
        "users": None,
    }


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_server_without_its_package_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"'mlflow'.*feast-fusion\[tracking\]"):
        Tracking(tmp_path / "run", "films", {}, mlflow_uri="http://localhost:5000")
    assert not (tmp_path / "run").exists()
