"""Numbers that are not meant: counted, and of no weight for the others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.outliers import fences
from tests.intake.data_files import THEN, Files, times


def priced(files: Files, prices: list[float | None]) -> Files:
    n = len(prices)
    files.toml = files.toml.replace('["year"]', '["year", "price"]')
    files.items = {
        "item_id": ["a", "b", "c", *(f"i{at}" for at in range(n - 3))],
        "event_timestamp": times(*[THEN] * n),
        "title": ["A"] * n,
        "year": [2000] * n,
        "genres": [["x"]] * n,
        "price": prices,
    }
    return files


def test_numbers_far_from_the_rest_are_named_and_stay(files: Files) -> None:
    prices = [float(1 + at % 500) for at in range(3000)]
    prices[7] = prices[8] = 99_999_999.0
    data = priced(files, list(prices)).validate()
    assert data.items["price"].to_pylist() == prices
    assert data.report.notes == [
        "Numbers of 'price' in items.parquet: 2 of 3,000 lie far from the rest, such as 99999999 "
        "where the others are from 1 to 500; the scale is that of the others. Write null where "
        "they mean that nothing is known."
    ]


@pytest.mark.parametrize("huge", [1e300, float("inf"), float("-inf")])
def test_numbers_that_are_none_are_absent_and_counted(files: Files, huge: float) -> None:
    data = priced(files, [1.0, huge, None, 2.0, 3.0]).validate()
    assert data.items["price"].to_pylist() == [1.0, None, None, 2.0, 3.0]
    (note,) = data.report.notes
    assert f"1 of 5 are infinite or beyond 1e+30, such as {huge:g}; they count as absent." in note


def test_a_rare_number_beside_one_that_is_common_is_no_outlier() -> None:
    assert fences(np.append(np.zeros(999), 5.0)) == (-np.inf, np.inf)
    assert fences(np.array([])) == fences(np.array([1.0])) == fences(np.array([1.0, 9.0]))


@given(
    usual=st.lists(st.floats(-1e6, 1e6), min_size=120, max_size=200),
    planted=st.sampled_from([1e15, -1e20]),
)
def test_one_number_of_a_hundred_never_moves_the_fences_to_itself(
    usual: list[float], planted: float
) -> None:
    low, high = fences(np.array([*usual, planted]))
    if np.isfinite(low):
        assert not low <= planted <= high


def test_values_far_from_the_rest_are_named_with_the_key_that_refuses_them(files: Files) -> None:
    files.interactions = {
        "user_id": [f"u{at}" for at in range(600)],
        "item_id": ["a"] * 600,
        "event_timestamp": times(*[THEN] * 600),
        "value": [1e9, *(float(1 + at % 5) for at in range(599))],
    }
    data = files.validate()
    (note,) = data.report.notes
    assert (
        "'value' in interactions.parquet: 1 of 600 lie far from the rest, such as 1000000000"
        in note
    )
    assert "where the others are from 1 to 5;" in note
    files.toml += "value_range = [1.0, 5.0]\n"
    data = files.validate()
    assert data.report.notes == []
    assert data.report.rejects["interactions"] == {"value out of range": 1}
