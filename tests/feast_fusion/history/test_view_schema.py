from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from feast_fusion.history.view_schema import ViewSchema, conform, python_frame
from feast_fusion.times import TIMESTAMP
from transformations.schema import VECTOR

AT = datetime(2024, 1, 1, tzinfo=UTC)
TYPES = pa.schema(
    {
        "id": pa.string(),
        "v": VECTOR,
        "raw": pa.list_(pa.float32()),
        "n": pa.int64(),
        "ok": pa.bool_(),
        "at": TIMESTAMP,
    }
)
SCHEMA = ViewSchema("view", ("id",), "at", None, TYPES, {"v": 2})


def frame(**columns: list[Any]) -> pd.DataFrame:
    n_rows = len(next(iter(columns.values()))) if columns else 2
    rows = {
        "id": [f"i{row}" for row in range(n_rows)],
        "v": [np.array([1.0, 2.0], dtype=np.float32)] * n_rows,
        "raw": [[1.0]] * n_rows,
        "n": [1] * n_rows,
        "ok": [True] * n_rows,
        "at": [AT] * n_rows,
    }
    return pd.DataFrame(rows | columns)


def stored(column: str, values: list[Any]) -> list[Any]:
    found: list[Any] = conform(frame(**{column: values}), SCHEMA).column(column).to_pylist()
    return found


def test_columns_come_in_order_and_others_are_left_out() -> None:
    table = conform(frame().iloc[:, ::-1].assign(extra=1), SCHEMA)
    assert table.schema == TYPES
    assert table.num_rows == 2


def test_no_rows_conform() -> None:
    assert conform(frame().iloc[:0], SCHEMA).schema == TYPES


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("n", [1.0, None], [1, None]),  # pandas makes floats of integers beside a null
        ("n", [pd.NA, 3], [None, 3]),
        ("n", [True, 2], None),
        ("n", [1.5, 2.0], None),
        ("n", ["x", "2"], None),
        ("n", [2**63, 1], None),
        ("ok", [None, False], [None, False]),
        ("v", [np.array([1.0, 2.0]), [3, 4]], [[1.0, 2.0], [3.0, 4.0]]),
        ("v", [None, float("nan")], [None, None]),
        ("raw", [[float("inf")], []], [[float("inf")], []]),  # no vector: any list of floats
        ("raw", [["x"], [1.0]], None),
        ("raw", [1.0, 2.0], None),
        ("id", [None, "b"], [None, "b"]),
    ],
)
def test_values_are_cast_without_loss_or_refused(
    column: str, values: list[Any], expected: list[Any] | None
) -> None:
    if expected is None:
        with pytest.raises(SchemaError, match=f"'view', column '{column}', first at id=i"):
            stored(column, values)
    else:
        assert stored(column, values) == expected


def test_nan_in_a_list_that_is_no_vector_is_a_value() -> None:
    assert np.isnan(stored("raw", [[float("nan"), 1.0]])[0][0])


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, float("nan")], "i1.*a vector with the value nan, expected finite"),
        ([1.0, float("-inf")], "i1.*a vector with the value -inf, expected finite"),
        ([1.0, None], "i1.*a vector with the value nan, expected finite"),
        ([1.0, 1e39], "i1.*a vector with the value inf, expected finite"),  # beyond float32
        ([1.0], "i1.*a vector of width 1, expected width 2"),
        ([], "i1.*a vector of width 0, expected width 2"),
    ],
)
def test_a_bad_vector_is_refused_with_its_key(vector: list[Any], message: str) -> None:
    with pytest.raises(SchemaError, match=f"column 'v', first at id={message}"):
        stored("v", [None, vector, [1.0, 2.0]])


def test_without_a_declared_width_vectors_agree_with_the_first() -> None:
    schema = ViewSchema("view", ("id",), "at", None, TYPES, {"v": 0})
    with pytest.raises(SchemaError, match=r"id=i2.*width 2, expected width 3"):
        conform(frame(v=[None, [1, 2, 3], [1, 2]]), schema)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 1),
        datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9))),
        pd.Timestamp("2023-12-31 23:59:59.999999001"),  # up: never seen before it happened
        np.datetime64("2024-01-01", "s"),
        "2024-01-01T09:00:00+09:00",
        "2024-01-01",
    ],
)
def test_timestamps_become_utc_microseconds(moment: Any) -> None:
    assert stored("at", [moment]) == [AT]


def test_a_missing_timestamp_or_column_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"'at', first at id=i1.*got null, expected a timestamp"):
        stored("at", [AT, None])
    with pytest.raises(SchemaError, match=r"got columns .* expected also \['n', 'ok'\]"):
        conform(frame().drop(columns=["n", "ok"]), SCHEMA)
    twice = pd.concat([frame(), frame()[["n"]]], axis=1)
    with pytest.raises(SchemaError, match="column 'n': got 2 columns of this name"):
        conform(twice, SCHEMA)


def test_what_a_transformation_receives_does_not_depend_on_its_batch() -> None:
    table = pa.table({"n": [1, None], "x": [1.5, None], "s": ["a", None]})
    both, first = python_frame(table), python_frame(table.slice(0, 1))
    assert both["n"].tolist() == [1, None]
    assert f"{both['n'][0]}" == f"{first['n'][0]}" == "1"
    assert both["s"].tolist() == ["a", None] and np.isnan(both["x"][1])
