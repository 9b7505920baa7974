"""A checkpoint is of one fit, whole, and gives back what was kept."""

from pathlib import Path

import numpy as np
import pytest
import torch

from feast_fusion.training_set import TrainingSet
from intake.model_settings import RankerConfig
from tests.damages import emptied, flipped, halved, overwritten
from tests.training.synthetic import make_dataset, make_training_set
from training.checkpoint import Checkpoint
from training.fitting import Epoch
from training.trainer import TrainResult, train

CONFIG = RankerConfig(epochs=4, batch_size=128, text_width=4, truncate=0.2)


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set()


def test_what_was_kept_comes_back_to_the_same_fit_only(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "fit", "one")
    assert checkpoint.load() is None
    tensors = {"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(1.5)}
    checkpoint.save(tensors, {"epochs": [{"auc": 0.1 + 0.2}]})
    kept = checkpoint.load()
    assert kept is not None
    assert all(torch.equal(kept[0][name], tensor) for name, tensor in tensors.items())
    assert kept[1] == {"epochs": [{"auc": 0.1 + 0.2}]}
    assert Checkpoint(checkpoint.path, "other").load() is None
    whole = checkpoint.path.read_bytes()
    for damage in (emptied, halved, flipped, *map(overwritten, range(20))):
        checkpoint.path.write_bytes(damage(whole))
        assert checkpoint.load() is None, "a damaged one is none"


class Stopped(Exception):
    """What takes the place of a kill."""


def fit(rows: TrainingSet, checkpoint: Checkpoint | None, stop_after: int = 0) -> TrainResult:
    def report(epoch: Epoch) -> None:
        if epoch.number == stop_after:
            raise Stopped

    return train(
        rows,
        make_dataset(),
        CONFIG,
        service="s",
        encoder_id=None,
        checkpoint=checkpoint,
        report=report,
    )


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_fit_that_goes_on_takes_the_same_steps(
    rows: TrainingSet, tmp_path: Path, stop_after: int
) -> None:
    whole = fit(rows, None)
    checkpoint = Checkpoint(tmp_path / "fit", "one")
    with pytest.raises(Stopped):
        fit(rows, checkpoint, stop_after)
    torch.rand(7)  # chance that was drawn in between changes nothing
    resumed = fit(rows, checkpoint)
    assert resumed.history == whole.history
    np.testing.assert_array_equal(resumed.artifact.score(rows), whole.artifact.score(rows))
