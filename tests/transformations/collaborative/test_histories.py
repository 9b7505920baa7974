"""Histories cut to their newest events are those of a shorter memory."""

from dataclasses import fields

import numpy as np
import pytest

from tests.transformations.collaborative.logs import random_log
from transformations.collaborative.histories import Histories


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_the_newest_events_are_those_of_a_shorter_memory(limit: int) -> None:
    log = random_log()
    users, times = log.user[::3], log.time[::3]
    cut = log.histories(users, times, 50).newest(limit)
    shorter = log.histories(users, times, limit)
    assert 0 in shorter.lengths and shorter.lengths.max() <= limit
    for field in fields(Histories):
        np.testing.assert_array_equal(getattr(cut, field.name), getattr(shorter, field.name))
