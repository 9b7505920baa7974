"""The sequence encoder: causal, one meaning in training and scoring, gradients, sizes 0 and 1."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from intake.model_settings import SequenceConfig
from intake.outliers import FARTHEST
from tests.oracles.item_models import history_rows
from tests.transformations.collaborative.logs import random_log
from training.next_item.sequence_fit import (
    SequenceFitter,
    batch_histories,
    score_histories,
)
from training.next_item.sequence_log import Log, event_numbers, fit_scale
from training.next_item.sequence_model import SequenceBatch, SequenceModel
from transformations.collaborative.histories import Events, Histories
from transformations.id_map import IdMap

EVENTS = random_log()
N_ITEMS = len(EVENTS.items)
CONFIG = SequenceConfig(width=8, heads=2, length=6, epochs=2, batch_size=4, dropout=0.0)


def make_model(**changes: object) -> SequenceModel:
    torch.manual_seed(0)
    side = torch.randn(N_ITEMS, 3)
    return SequenceModel(CONFIG.model_copy(update=changes), side)


def fitted(events: Events = EVENTS, n_rows: int = 100, *, repeats: bool = False) -> SequenceModel:
    model = make_model()
    SequenceFitter(model, events, seed=0, repeats=repeats).fit(n_rows, epochs=2)
    return model


def histories_at(rows: np.ndarray, limit: int = 6) -> Histories:
    return EVENTS.histories(EVENTS.user[rows], EVENTS.time[rows], limit)


def test_an_event_after_a_place_leaves_the_states_up_to_it_as_they_are() -> None:
    model = make_model().eval()
    batch, _ = batch_histories(histories_at(np.arange(60, 100)), model)
    k = 3
    other = SequenceBatch(batch.items.clone(), batch.numbers.clone(), batch.idle.clone())
    other.items[:, k + 1 :] = 0
    other.numbers[:, k + 1 :] += 1.0
    other.idle[:, k + 1 :] += 1.0
    with torch.inference_mode():
        one, two = model.states(batch, model.events()), model.states(other, model.events())
    torch.testing.assert_close(one[:, : k + 1], two[:, : k + 1], rtol=0, atol=1e-6)
    assert not torch.allclose(one[:, k + 1], two[:, k + 1])


def test_events_after_the_fitted_rows_change_nothing() -> None:
    rng = np.random.default_rng(1)
    later = replace(
        EVENTS,
        item=np.append(EVENTS.item[:100], rng.integers(0, N_ITEMS, 20)),
        positive=np.append(EVENTS.positive[:100], np.zeros(20, bool)),
        value=np.append(EVENTS.value[:100], np.full(20, 9.0, np.float32)),
    )
    one, two = fitted().state_dict(), fitted(later).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_place_is_read_in_training_as_a_history_is_in_scoring() -> None:
    model = make_model(length=40).eval()
    log = Log(EVENTS, len(EVENTS), model, n_read=0, repeats=False)
    windows = log.windows(np.random.default_rng(0))
    batch, targets = log.batch(windows)
    width = batch.items.shape[1]
    with torch.inference_mode():
        states = model.states(batch, model.events()).flatten(0, 1)
        logits = model.logits(states, model.answers()).numpy()
    by_user = np.lexsort((np.arange(len(EVENTS)), EVENTS.user))
    for place, item in zip(targets.place.tolist(), targets.item.tolist(), strict=True):
        window, at = divmod(place, width)
        row = by_user[windows.begin[window] + at]  # the first event that the state must not know
        history = EVENTS.histories(EVENTS.user[[row]], EVENTS.time[[row]], 40)
        wanted = score_histories(model, history)[0]
        np.testing.assert_allclose(logits[place], wanted, atol=1e-4)
        assert item < N_ITEMS - 1


def test_every_event_is_predicted_once_by_what_is_strictly_before_it() -> None:
    log = Log(EVENTS, 100, make_model(), n_read=0, repeats=False)
    windows = log.windows(np.random.default_rng(0))
    assert sorted(
        row
        for fresh, end in zip(windows.fresh.tolist(), windows.end.tolist(), strict=True)
        for row in range(fresh, end)
    ) == list(range(100))
    assert (windows.end - windows.begin <= CONFIG.length).all()


@pytest.mark.parametrize("repeats", [False, True])
def test_what_cannot_follow_is_what_the_user_had_and_what_nobody_met(repeats: bool) -> None:
    model = fitted(repeats=repeats)
    log = Log(EVENTS, 100, model, n_read=0, repeats=repeats)
    windows = log.windows(np.random.default_rng(0))
    batch, targets = log.batch(windows)
    asked, width = np.unique(targets.place), batch.items.shape[1]
    found = log.impossible(windows, asked, width, torch.device("cpu")).numpy()
    unmet = set(range(N_ITEMS)) - set(EVENTS.item[:100].tolist())
    assert N_ITEMS - 1 in unmet
    by_user = np.lexsort((np.arange(100), EVENTS.user[:100]))
    for place, row in zip(asked.tolist(), found, strict=True):
        window, at = divmod(place, width)
        event = by_user[windows.begin[window] + at]
        past = history_rows(EVENTS, int(EVENTS.user[event]), int(EVENTS.time[event]), 1000)
        had = set() if repeats else {int(EVENTS.item[r]) for r in past}
        assert set(np.flatnonzero(row).tolist()) == had | unmet


def test_the_gradient_is_that_of_the_logits() -> None:
    model = make_model(width=4, heads=1).double().eval()
    batch, last = batch_histories(histories_at(np.array([50, 90])), model)
    numbers = batch.numbers.double().requires_grad_()
    idle = batch.idle.double().requires_grad_()

    def logits(numbers: torch.Tensor, idle: torch.Tensor) -> torch.Tensor:
        states = model.states(SequenceBatch(batch.items, numbers, idle), model.events())
        return model.logits(states[torch.arange(2), torch.from_numpy(last)], model.answers())

    assert torch.autograd.gradcheck(logits, (numbers, idle))


def test_an_item_that_nobody_met_is_read_by_what_is_known_of_it() -> None:
    model = fitted()
    assert model.met.tolist()[-1] == 0
    with torch.no_grad():
        before = model.answers()[-1].clone()
        model.answer_ids.weight[-1] += 1.0
        assert torch.equal(before, model.answers()[-1])
        model.side[-1] += 1.0
        assert not torch.equal(before, model.answers()[-1])
    assert model.answer_bias[-1] == model.new_bias


def test_items_that_nobody_met_stand_with_the_rarest() -> None:
    torch.manual_seed(0)
    side = torch.randn(60, 3)
    model = SequenceModel(CONFIG, torch.cat([side, side.flip(0)]))
    wide = replace(EVENTS, items=IdMap.of([f"i{k:03d}" for k in range(120)]))
    fitter = SequenceFitter(model, wide, seed=0)
    fitter.fit(100, epochs=20)
    logits = score_histories(model, histories_at(np.arange(40, 100)))
    met = model.met.numpy() > 0
    levels = logits.mean(axis=0)
    assert np.quantile(levels[met], 0.3) > levels[~met].mean()


def test_scales_are_the_data_s_own_and_an_absent_value_is_zero() -> None:
    model = fitted()
    mean, spread = model.scale[0].tolist()
    assert mean == pytest.approx(EVENTS.value[:100].mean(), abs=1e-5)
    assert spread == pytest.approx(EVENTS.value[:100].std(), abs=1e-5)
    silent = replace(EVENTS, value=np.full(len(EVENTS), np.nan, np.float32))
    model = fitted(silent)
    assert model.scale[0].tolist() == [0.0, 1.0]
    rows = np.array([90])
    history = silent.histories(silent.user[rows], silent.time[rows], 6)
    assert not batch_histories(history, model)[0].numbers[:, :, 1].any()
    assert np.isfinite(score_histories(model, history)).all()


def test_no_query_one_query_and_an_empty_history_are_scored() -> None:
    model = fitted()
    none = np.zeros(0, np.int64)
    assert score_histories(model, EVENTS.histories(none, none, 6)).shape == (0, N_ITEMS)
    together = score_histories(model, histories_at(np.array([0, 99])))
    assert histories_at(np.array([0])).lengths.tolist() == [0]
    for at, row in enumerate([0, 99]):
        alone = score_histories(model, histories_at(np.array([row])))
        np.testing.assert_allclose(alone[0], together[at], atol=1e-5)


def test_fitting_lowers_the_loss_and_is_the_same_by_the_same_seed() -> None:
    model = make_model(learning_rate=1e-2)
    fitter = SequenceFitter(model, EVENTS, seed=0)
    assert fitter.fit(100, epochs=1) > fitter.fit(100, epochs=12)
    one, two = fitted().state_dict(), fitted().state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_pass_without_a_new_event_and_without_a_replayed_one_changes_no_weight() -> None:
    model = make_model(replay=0.0)
    fitter = SequenceFitter(model, EVENTS, seed=0)
    fitter.fit(100, epochs=1)
    before = {name: value.clone() for name, value in model.blocks.state_dict().items()}
    assert np.isnan(fitter.fit(100, epochs=1))
    assert all(
        torch.equal(before[name], value) for name, value in model.blocks.state_dict().items()
    )


def test_one_absurd_value_leaves_the_scale_and_is_read_as_the_farthest() -> None:
    value = np.tile(np.arange(1, 6, dtype=np.float32), len(EVENTS.value))[: len(EVENTS.value)]
    spoiled = value.copy()
    spoiled[3] = 1e12
    plain, mad = (replace(EVENTS, value=each) for each in (value, spoiled))
    n_rows = len(value)
    np.testing.assert_allclose(fit_scale(mad, n_rows)[0], fit_scale(plain, n_rows)[0], rtol=0.05)
    model = make_model()
    model.scale.copy_(torch.from_numpy(fit_scale(mad, n_rows)))
    read = event_numbers(mad.positive, mad.value, np.zeros(n_rows), model)[:, 1]
    assert read[3] == read.max() == FARTHEST
