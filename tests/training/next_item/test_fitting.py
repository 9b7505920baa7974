"""Fitting the next-item model to logs that have little to learn from."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from evaluation.memory_log import MemoryLog
from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig, SequenceConfig
from tests.transformations.collaborative.logs import random_log
from training.next_item.fitting import NextItemFitter
from training.ranker.columns import Profile

CONFIG = NextItemConfig(sequence=SequenceConfig(width=8, epochs=1, more_epochs=1), phases=1)


def fitter_of(n_positive: int) -> NextItemFitter:
    """A log whose first events alone are positive."""
    log = random_log(120)
    events = replace(log, positive=np.arange(len(log)) < n_positive)
    rows = TrainingSet(pa.table({"item_id": events.items.ids}), {}, {})
    return NextItemFitter(MemoryLog(events, rows, Profile((), (), ()), 10, 50), CONFIG, 0)


def test_a_log_without_a_late_positive_event_is_refused_with_the_remedy() -> None:
    with pytest.raises(
        SchemaError, match=r"no positive event among rows 48 to 120.*\[interactions\]"
    ):
        fitter_of(20).fit(120)


def test_a_few_late_positive_events_are_enough() -> None:
    model = fitter_of(80).fit(120)
    assert len(model.items) > 0
