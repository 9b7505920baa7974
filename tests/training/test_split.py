"""Splits follow one order of time, users and items, whatever the order of the rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from intake.split_settings import SplitConfig
from training.split import leave_one_out, split_by_time, split_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=40
)


def table_of(rows: list[tuple[int, str, str]]) -> pa.Table:
    times = pa.array([START + timedelta(seconds=t) for t, _, _ in rows], pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "user_id": pa.array([u for _, u, _ in rows], pa.string()),
            "item_id": pa.array([i for _, _, i in rows], pa.string()),
            "event_timestamp": times,
        }
    )


@given(ROWS)
def test_parts_are_the_sorted_rows_cut_twice(rows: list[tuple[int, str, str]]) -> None:
    split = split_by_time(table_of(rows), test=0.2, validation=0.25)
    taken = np.concatenate([split.train, split.validation, split.test])
    assert sorted(taken.tolist()) == list(range(len(rows))), "each row once"
    assert [rows[at] for at in taken] == sorted(rows)
    n_test = int(len(rows) * 0.2)
    assert len(split.test) == n_test
    assert len(split.validation) == int((len(rows) - n_test) * 0.25)
    assert split.past.tolist() == [*split.train, *split.validation]


def test_an_instant_may_be_cut_between_users() -> None:
    rows = [(0, "b", "x"), (0, "a", "y"), (0, "a", "x"), (0, "b", "z")]
    split = split_by_time(table_of(rows), test=0.5, validation=0)
    assert split.train.tolist() == [2, 1]
    assert split.test.tolist() == [0, 3]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_impossible_share_is_refused(share: float) -> None:
    with pytest.raises(SchemaError, match=r"share of test rows: got .*, expected a number"):
        split_by_time(table_of([]), test=share)


@given(ROWS)
def test_the_last_instant_of_each_user_tests_and_the_one_before_validates(
    rows: list[tuple[int, str, str]],
) -> None:
    split = split_rows(table_of(rows), SplitConfig(by="leave_one_out"))
    expected: dict[int, str] = {}
    for at, (time, user, _) in enumerate(rows):
        instants = sorted({t for t, u, _ in rows if u == user})
        held = len(instants) >= 3
        of_instant = {instants[-1]: "test", instants[-2]: "validation"} if held else {}
        expected[at] = of_instant.get(time, "train")
    found = {
        at: part for part in ("train", "validation", "test") for at in getattr(split, part).tolist()
    }
    assert found == expected
    for part in (split.train, split.validation, split.test):
        assert [rows[at] for at in part] == sorted(rows[at] for at in part)


def test_a_user_of_two_instants_is_trained_on() -> None:
    split = leave_one_out(table_of([(0, "a", "x"), (1, "a", "y"), (1, "a", "z")]))
    assert (len(split.train), len(split.test)) == (3, 0)


DAYS = [(day * 86_400, user, "x") for day in range(10) for user in "ab"]


def test_parts_begin_at_the_given_instants() -> None:
    """Both users' rows of 2024-01-08, the seventh day after the start, test."""
    how = SplitConfig.model_validate({"test_from": "2024-01-08", "validation_from": "2024-01-05"})
    split = split_rows(table_of(DAYS), how)
    assert [len(part) for part in (split.train, split.validation, split.test)] == [8, 6, 6]
    assert {DAYS[at][0] for at in split.test} == {day * 86_400 for day in (7, 8, 9)}
    half = SplitConfig.model_validate({"test_from": "2024-01-08T00:00:00Z", "validation": 0.5})
    assert [len(p) for p in (split_rows(table_of(DAYS), half).train, split.test)] == [7, 6]


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({"test_from": "2025-01-01"}, "test_from: got no test row from 2025-01-01"),
        ({"test_from": "2020-01-01"}, r"\[split\]: got no validation row"),
        (
            {"test_from": "2024-01-08", "validation_from": "2024-01-07T12:00:00Z"},
            r"validation_from: got no validation row.*2024-01-01T00:00:00.000000Z to 2024-01-10",
        ),
    ],
)
def test_a_cut_outside_the_examples_is_refused(cuts: dict[str, str], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        split_rows(table_of(DAYS), SplitConfig.model_validate(cuts))
