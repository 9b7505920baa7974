"""Splits follow one order of time, users and items, whatever the order of the rows."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from training.split import split_by_time

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
