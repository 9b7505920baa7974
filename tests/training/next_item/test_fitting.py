"""Fitting the next-item model: logs that have little to learn from, and a fit that is killed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from evaluation.memory_log import MemoryLog
from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.model_settings import ChooserConfig, NextItemConfig, SequenceConfig
from tests.transformations.collaborative.logs import random_log
from training.checkpoint import Checkpoints
from training.next_item.fitting import Epoch, NextItemFitter, Report, count_epochs
from training.next_item.model_file import arrays_of
from training.ranker.columns import Profile

CONFIG = NextItemConfig(
    sequence=SequenceConfig(width=8, epochs=3, more_epochs=2, batch_size=4),
    chooser=ChooserConfig(epochs=2),
    phases=2,
)
NOTHING = Profile((), (), ())


def fitter_of(
    n_positive: int, checkpoints: Checkpoints | None = None, report: Report | None = None
) -> NextItemFitter:
    """A log whose first events alone are positive."""
    log = random_log(120)
    events = replace(log, positive=np.arange(len(log)) < n_positive)
    rows = TrainingSet(pa.table({"item_id": events.items.ids}), {}, {})
    memory = MemoryLog(events, rows, NOTHING, 10, 50)
    return NextItemFitter(memory, CONFIG, 0, checkpoints, report)


def test_a_log_without_a_late_positive_event_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        SchemaError, match=r"no positive event among rows 48 to 120.*\[interactions\]"
    ):
        fitter_of(20).fit(120)


def test_a_few_late_positive_events_are_enough() -> None:
    model = fitter_of(80).fit(120)
    assert len(model.items) > 0


def test_a_choice_of_what_is_never_offered_again_teaches_nothing() -> None:
    """After the warm-up everybody chooses again what they had."""
    log = random_log(120)
    again = np.concatenate([np.arange(48), np.resize(np.arange(48), 72)])
    events = replace(log, user=log.user[again], item=log.item[again])
    events = replace(events, positive=np.ones(120, bool))
    memory = MemoryLog(
        events, TrainingSet(pa.table({"item_id": events.items.ids}), {}, {}), NOTHING, 10, 50
    )
    with pytest.raises(SchemaError, match=r"new to its user.*repeats = true in \[candidates\]"):
        NextItemFitter(memory, CONFIG, 0).fit(120)
    with_repeats = CONFIG.model_copy(update={"repeats": True})
    assert len(NextItemFitter(memory, with_repeats, 0).fit(120).items) > 0, "the remedy"


class Stopped(Exception):
    """What takes the place of a kill."""


def fit_both(folder: Path | None, epochs: list[Epoch], stop_after: int = -1) -> list[torch.Tensor]:
    """The arrays of a model and of the one that goes on from it."""

    def report(epoch: Epoch) -> None:
        epochs.append(epoch)
        if len(epochs) == stop_after:
            raise Stopped

    fitter = fitter_of(120, Checkpoints(folder, "one") if folder else None, report)
    models = fitter.fit(100), fitter.fit(120)
    return [array for model in models for array in arrays_of(model).values()]


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7, 9, 10, 12, 13])
def test_a_fit_that_goes_on_gives_the_same_models(tmp_path: Path, stop_after: int) -> None:
    """Epochs 1 to 3 are the first version's, 4 to 7 of two later ones, 8 and 9 the chooser's."""
    whole: list[Epoch] = []
    wanted = fit_both(None, whole)
    assert len(whole) == count_epochs(CONFIG)
    first, second = list[Epoch](), list[Epoch]()
    with pytest.raises(Stopped):
        fit_both(tmp_path / "kept", first, stop_after)
    torch.rand(7)  # chance that was drawn in between changes nothing
    for got, array in zip(fit_both(tmp_path / "kept", second), wanted, strict=True):
        torch.testing.assert_close(got, array, rtol=0, atol=0)
    told, again = (
        [epoch for epoch in run if epoch.part == "sequence"] for run in (whole, first + second)
    )
    assert again == told, "no epoch of the sequence encoder is run twice"


def test_another_fit_is_not_gone_on_with(tmp_path: Path) -> None:
    fit_both(tmp_path / "kept", [])
    other = Checkpoints(tmp_path / "kept", "other")
    epochs: list[Epoch] = []
    fitter_of(120, other, epochs.append).fit(100)
    assert [epoch.number for epoch in epochs if epoch.part == "sequence"] == list(range(1, 8))
    other.remove()
    assert not (tmp_path / "kept").exists()
