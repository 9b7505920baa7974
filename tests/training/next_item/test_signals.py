"""Signals of users and items against loops, and how they are compared and merged."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from intake.model_settings import SequenceConfig
from tests.oracles.item_models import history_rows, weighted_history
from tests.transformations.collaborative.logs import random_log
from training.next_item.model import Signals, signal_names
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import (
    SIGNALS,
    request_context,
    score_signals,
    speaking_signals,
    standardise,
)
from transformations.collaborative.histories import Histories
from transformations.collaborative.own_events import OWN_SIGNALS
from transformations.collaborative.versions import ItemVersion

EVENTS = random_log()
POPULAR = {"popular", "popular_long", "popular_short"}
N_ITEMS, LIMIT = len(EVENTS.items), 6
RNG = np.random.default_rng(0)
LIKED = np.bincount(EVENTS.item[EVENTS.positive], minlength=N_ITEMS)
VERSION = ItemVersion(
    stamp=1,
    together=sp.csr_matrix(RNG.normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)),
    following=sp.csr_matrix(RNG.normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)),
    popularity=np.log1p(np.stack([LIKED, LIKED // 2, LIKED // 3])).astype(np.float32),
    liked_rate=RNG.random(N_ITEMS).astype(np.float32),
)
TEXTS = RNG.normal(size=(N_ITEMS, 4)).astype(np.float32)
TEXTS /= np.linalg.norm(TEXTS, axis=1, keepdims=True)
ROWS = np.arange(10, 120, 7)


def _of_one(positives: list[bool]) -> Histories:
    n = len(positives)
    ages = np.arange(n)[::-1] * 60
    values = np.full(n, np.nan, np.float32)
    return Histories(
        np.array([0, n]), np.arange(n), np.array(positives, bool), values, ages, np.zeros(1)
    )


@pytest.mark.parametrize(
    ("positives", "has_negatives", "silent"),
    [
        ([True, False], True, set()),
        ([True, True], True, {"disliked"}),
        ([True, True], False, {"disliked", "liked_rate"}),
        ([], True, {*signal_names(True)} - {"liked_rate", *POPULAR}),
        ([], False, {*signal_names(True)} - {*POPULAR}),
    ],
)
def test_a_signal_that_says_nothing_of_a_user_is_silent(
    positives: list[bool], has_negatives: bool, silent: set[str]
) -> None:
    names = signal_names(True)
    speaks = speaking_signals(names, _of_one(positives), has_negatives=has_negatives)
    assert {name for name, each in zip(names, speaks, strict=True) if not each} == silent


def _histories() -> Histories:
    return EVENTS.histories(EVENTS.user[ROWS], EVENTS.time[ROWS], LIMIT)


def _signals(*, repeats: bool = False) -> Signals:
    torch.manual_seed(0)
    side = np.concatenate([TEXTS * 2, RNG.normal(size=(N_ITEMS, 2))], axis=1).astype(np.float32)
    sequence = SequenceModel(SequenceConfig(width=8), torch.from_numpy(side)).eval()
    return Signals(VERSION, sequence, TEXTS, side, repeats)


def test_item_signals_are_sums_over_the_events_of_the_history() -> None:
    found = score_signals(VERSION, _histories(), TEXTS)
    together, following = VERSION.together.toarray(), VERSION.following.toarray()
    for at, row in enumerate(ROWS.tolist()):
        past = history_rows(EVENTS, int(EVENTS.user[row]), int(EVENTS.time[row]), LIMIT)
        newest = max((EVENTS.time[r] for r in past), default=0)
        items = weighted_history(EVENTS, past)
        disliked, visit = np.zeros(N_ITEMS), np.zeros(N_ITEMS)
        for place, r in enumerate(reversed(past)):
            weight = (1.0 if EVENTS.positive[r] else 0.2) / np.sqrt(1 + place)
            disliked[EVENTS.item[r]] += weight * (not EVENTS.positive[r])
            visit[EVENTS.item[r]] += weight * (EVENTS.time[r] == newest)
        wanted = {
            "together": items @ together,
            "following": items @ following,
            "disliked": disliked @ together,
            "visit": visit @ following,
            "popular_short": VERSION.popularity[2],
            "text": (items @ TEXTS) @ TEXTS.T,
        }
        for name, of in wanted.items():
            np.testing.assert_allclose(found[at, SIGNALS.index(name)], of, atol=1e-4)


def test_scores_are_compared_among_the_allowed_items_only() -> None:
    scores = RNG.normal(size=(3, 2, N_ITEMS)).astype(np.float32)
    allowed = RNG.random((3, N_ITEMS)) < 0.6
    allowed[2] = False
    found = standardise(scores, allowed)
    for query in range(2):
        of = scores[query][:, allowed[query]]
        wanted = (of - of.mean(axis=1, keepdims=True)) / of.std(axis=1, keepdims=True)
        np.testing.assert_allclose(found[query][:, allowed[query]], wanted, atol=1e-4)
        assert not found[query][:, ~allowed[query]].any()
    assert not found[2].any()


@pytest.mark.parametrize("repeats", [False, True])
def test_all_named_signals_are_there_and_disallowed_items_come_last(repeats: bool) -> None:
    signals, histories = _signals(repeats=repeats), _histories()
    allowed = EVENTS.rankable(EVENTS.user[ROWS], EVENTS.time[ROWS], repeats=repeats)
    found = signals.read(histories, allowed)
    assert found.shape == (len(ROWS), len(signal_names(repeats)), N_ITEMS)
    assert set(OWN_SIGNALS) <= set(signal_names(repeats)) or not repeats
    assert np.isfinite(found).all()
    order = signals.merged_order(found, allowed)
    for query in range(len(ROWS)):
        assert sorted(order[query]) == list(range(N_ITEMS))
        n = int(allowed[query].sum())
        assert allowed[query, order[query, :n]].all()


def test_a_request_is_read_alone_as_it_is_among_others() -> None:
    signals, histories = _signals(), _histories()
    allowed = EVENTS.rankable(EVENTS.user[ROWS], EVENTS.time[ROWS])
    together = signals.read(histories, allowed)
    for query in (0, len(ROWS) - 1):
        alone = signals.read(histories.take(np.array([query])), allowed[[query]])
        np.testing.assert_allclose(alone[0], together[query], atol=1e-4)


def test_no_event_and_no_query_have_signals() -> None:
    signals = _signals(repeats=True)
    first = EVENTS.histories(np.array([0]), np.array([0]), LIMIT)
    assert np.isfinite(signals.read(first, np.ones((1, N_ITEMS), bool))).all()
    none = np.zeros(0, np.int64)
    found = signals.read(EVENTS.histories(none, none, LIMIT), np.ones((0, N_ITEMS), bool))
    assert found.shape == (0, len(signal_names(True)), N_ITEMS)


def test_the_numbers_of_a_request() -> None:
    histories = _histories()
    found = request_context(histories)
    for at, row in enumerate(ROWS.tolist()):
        past = history_rows(EVENTS, int(EVENTS.user[row]), int(EVENTS.time[row]), LIMIT)
        newest = max((int(EVENTS.time[r]) for r in past), default=int(EVENTS.time[row]))
        idle = (int(EVENTS.time[row]) - newest) // 1_000_000
        liked = sum(bool(EVENTS.positive[r]) for r in past)
        assert found[at].tolist() == pytest.approx(
            [
                np.log1p(len(past)) / 3 - 1,
                (liked + 3) / (len(past) + 6) - 0.5,
                np.log1p(idle) / 5 - 1,
                float(idle > 3600),
                np.log1p(sum(int(EVENTS.time[r]) == newest for r in past)),
                float(not past),
            ],
            abs=1e-5,
        )
