"""Item factors equal loops of least squares, know nothing of later events, and come back."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tests.oracles import item_factors as oracle
from tests.transformations.collaborative.logs import random_log
from transformations.collaborative.histories import Events
from transformations.collaborative.item_factors import (
    FactorVersion,
    build_item_factors,
    fit_item_factors,
)
from transformations.collaborative.tastes import Tastes
from transformations.schema import ITEM_FACTORS

N_ROWS = 300


@pytest.fixture(scope="module")
def events() -> Events:
    """Even users like even items; every fourth event has no value."""
    log = random_log(400, users=12, items=10, seed=3)
    likes = (log.user + log.item) % 2 == 0
    value = log.value + np.where(likes, 1.5, -1.5).astype(np.float32)
    value[::4] = np.nan
    return replace(log, value=value, positive=likes != (np.arange(400) % 9 == 0))


def answers_of(events: Events, kind: int, n_rows: int) -> list[oracle.Answer]:
    given = (events.value, events.positive)[kind][:n_rows].astype(float)
    rows = np.flatnonzero(np.isfinite(given))
    return [(int(events.user[row]), int(events.item[row]), float(given[row])) for row in rows]


@pytest.mark.parametrize("kind", [0, 1])
def test_factors_are_those_of_a_least_squares_each(events: Events, kind: int) -> None:
    found = fit_item_factors(events, N_ROWS)
    fitted = oracle.fit(answers_of(events, kind, N_ROWS), len(events.users), len(events.items))
    for item in range(len(events.items)):
        mean = fitted.means.get(item, np.nan)
        np.testing.assert_allclose(found.means[kind, item], mean, rtol=1e-5)
    scaled = found.factors[kind] * oracle.RIDGE**0.5
    np.testing.assert_allclose(scaled, fitted.factors, atol=2e-5)
    assert np.abs(fitted.factors).max() > 0.3
    fewer = oracle.fit(answers_of(events, kind, N_ROWS - 2), len(events.users), len(events.items))
    assert not np.allclose(scaled, fewer.factors, atol=1e-3), "two answers less make a difference"


@pytest.mark.parametrize("kind", [0, 1])
def test_what_a_user_is_expected_to_answer(events: Events, kind: int) -> None:
    version = fit_item_factors(events, N_ROWS)
    fitted = oracle.fit(answers_of(events, kind, N_ROWS), len(events.users), len(events.items))
    rows = np.arange(N_ROWS - 20, 400)
    histories = events.histories(events.user[rows], events.time[rows], limit=6)
    found = Tastes.of(version, histories).expect(np.arange(len(rows)), events.item[rows])
    given = (histories.value, histories.positive)[kind].astype(float)
    name = ("value", "positive")[kind]
    for at, row in enumerate(rows.tolist()):
        of_user = slice(histories.offsets[at], histories.offsets[at + 1])
        history = list(zip(histories.item[of_user].tolist(), given[of_user].tolist(), strict=True))
        expected = oracle.expect(fitted, history, int(events.item[row]))
        for what, number in expected.items():
            np.testing.assert_allclose(
                found[f"{name}_{what}"][at], number, rtol=1e-4, atol=1e-5, err_msg=what
            )


def test_one_user_and_many_items_have_the_bits_of_pairs(events: Events) -> None:
    version = fit_item_factors(events, N_ROWS)
    rows = np.arange(N_ROWS - 20, 400)
    histories = events.histories(events.user[rows], events.time[rows], limit=6)
    pairs = Tastes.of(version, histories).expect(np.arange(len(rows)), events.item[rows])
    for at in range(0, len(rows), 7):
        one = Tastes.of(version, histories.take(np.array([at])))
        alone = one.expect(np.zeros(len(rows), np.int64), events.item[rows])
        for name, column in pairs.items():
            np.testing.assert_array_equal(alone[name][at], column[at], err_msg=name)


def test_an_item_without_answers_says_nothing(events: Events) -> None:
    version = fit_item_factors(events, N_ROWS)
    unmet = len(events.items) - 1
    assert np.isnan(version.means[:, unmet]).all() and not version.factors[:, unmet].any()
    histories = events.histories(events.user[-2:], events.time[-2:] + 1, limit=6)
    found = Tastes.of(version, histories).expect(np.array([0, 1]), np.array([unmet, -1]))
    for name, column in found.items():
        assert np.isnan(column).all() != name.endswith("bias"), name


def test_data_in_which_all_answers_are_the_same_have_no_tastes() -> None:
    log = random_log(60)
    same = replace(log, positive=np.ones(60, bool), value=np.full(60, np.nan, np.float32))
    version = fit_item_factors(same, 60)
    assert np.isnan(version.means[0]).all()
    np.testing.assert_allclose(version.means[1, np.unique(same.item)], 1.0)
    assert not version.factors.any()


def test_answers_after_a_version_change_nothing_in_it(events: Events) -> None:
    before = list(build_item_factors(events, 40).chunks)
    last = 250
    rng = np.random.default_rng(0)
    positive, value = events.positive.copy(), events.value.copy()
    positive[last:], value[last:] = rng.random(150) < 0.5, rng.normal(size=150)
    after = list(build_item_factors(replace(events, positive=positive, value=value), 40).chunks)
    stamps = [rows["event_timestamp"].cast(pa.int64())[0].as_py() for rows in before]
    untouched = [stamp <= events.time[last] for stamp in stamps]
    assert [one == other for one, other in zip(before, after, strict=True)] == untouched
    assert 0 < sum(untouched) < len(stamps)


def test_rows_come_back_as_they_were(events: Events) -> None:
    version = fit_item_factors(events, N_ROWS)
    rows = version.rows(events.items, np.arange(len(events.items)))
    assert rows.schema == ITEM_FACTORS
    assert rows["value_mean"].null_count == 1, "of the item that nobody met"
    back = FactorVersion.of(rows, events.items)
    assert back.stamp == version.stamp == events.time[N_ROWS - 1] + 1
    np.testing.assert_array_equal(back.means, version.means)
    np.testing.assert_array_equal(back.factors, version.factors)


def test_before_the_first_version_nothing_is_known(events: Events) -> None:
    empty = FactorVersion.empty(len(events.items))
    histories = events.histories(events.user[:3], events.time[:3] + 1, limit=6)
    found = Tastes.of(empty, histories).expect(np.arange(3), events.item[:3])
    assert all(np.isnan(c).all() for name, c in found.items() if not name.endswith("bias"))
    assert not found["value_bias"].any()


def test_one_absurd_value_leaves_the_means_of_other_items(events: Events) -> None:
    value = events.value.copy()
    at = int(np.flatnonzero(np.isfinite(value))[0])
    value[at] = 1e12
    plain, mad = (fit_item_factors(each, N_ROWS) for each in (events, replace(events, value=value)))
    others = np.delete(np.arange(len(events.items)), events.item[at])
    np.testing.assert_allclose(mad.means[0, others], plain.means[0, others], atol=0.5)
