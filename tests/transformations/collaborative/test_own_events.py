"""A user's own earlier events with an item, against loops."""

import math

import numpy as np

from tests.oracles.item_models import history_rows, weighted_history
from tests.transformations.collaborative.logs import DAY_US, random_log
from transformations.collaborative.own_events import OWN_SIGNALS, own_signals

EVENTS = random_log(200, users=4, items=6)
LIMIT = 20


def _by_loops(row: int, item: int) -> list[float]:
    now = int(EVENTS.time[row])
    rows = history_rows(EVENTS, int(EVENTS.user[row]), now, LIMIT)
    days = [(now - EVENTS.time[r]) / DAY_US for r in rows if EVENTS.item[r] == item]
    if not days:
        return [0, 0, 0, 0, 0, -math.log(401), 0, 0]
    newest = max(EVENTS.time[r] for r in rows)
    is_newest = any(EVENTS.time[r] == newest and EVENTS.item[r] == item for r in rows)
    due = 0.0
    if len(days) > 1:
        due = min(min(days) / ((max(days) - min(days)) / (len(days) - 1) + 1), 4)
    return [
        float(weighted_history(EVENTS, rows)[item]),
        math.log(1 + len(days)),
        sum(math.exp(-day / 7) for day in days),
        sum(math.exp(-day / 30) for day in days),
        float(is_newest),
        -math.log(1 + min(days)),
        due,
        1.0,
    ]


def test_every_number_is_that_of_a_loop_over_the_history() -> None:
    rows = np.arange(0, len(EVENTS), 9)
    histories = EVENTS.histories(EVENTS.user[rows], EVENTS.time[rows], LIMIT)
    found = own_signals(histories, len(EVENTS.items))
    assert found.shape == (len(rows), len(EVENTS.items), len(OWN_SIGNALS))
    wanted = [[_by_loops(int(row), item) for item in range(len(EVENTS.items))] for row in rows]
    np.testing.assert_allclose(found, np.array(wanted), rtol=1e-4, atol=1e-5)


def test_no_query_and_no_event_are_allowed() -> None:
    none = np.zeros(0, np.int64)
    assert own_signals(EVENTS.histories(none, none, 5), 6).shape == (0, 6, len(OWN_SIGNALS))
    first = EVENTS.histories(np.array([0]), np.array([0]), 5)
    assert not own_signals(first, 6)[:, :, OWN_SIGNALS.index("own_any")].any()
