from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from feast_fusion.parquet.newest import newest
from feast_fusion.parquet.parquet_source import POSITION
from feast_fusion.times import TIMESTAMP

Row = tuple[str | None, int, int | None]  # key, hours, created hours

TYPES = pa.schema([("id", pa.string()), ("at", TIMESTAMP), ("created", TIMESTAMP)])
ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 2), st.none() | st.integers(0, 2)),
    max_size=8,
)


def frame(rows: list[Row]) -> pl.DataFrame:
    def moment(hours: int | None) -> datetime | None:
        return None if hours is None else datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours)

    columns = {
        "id": [key for key, _, _ in rows],
        "at": [moment(at) for _, at, _ in rows],
        "created": [moment(created) for _, _, created in rows],
    }
    table = pa.table(columns, schema=TYPES).append_column(
        POSITION, pa.array(range(len(rows)), pa.int64())
    )
    return pl.DataFrame(pl.from_arrow(table))


def oracle(rows: list[Row]) -> list[int]:
    """Compare each row with each other row of its key."""

    def beats(other: int, row: int) -> bool:
        def order(position: int) -> tuple[int, int, int]:
            _, at, created = rows[position]
            return at, -1 if created is None else created, position

        return rows[other][0] == rows[row][0] and order(other) > order(row)

    everyone = range(len(rows))
    return [
        row
        for row in everyone
        if rows[row][0] is not None and not any(beats(other, row) for other in everyone)
    ]


def ignores_created(rows: list[Row]) -> list[int]:
    return oracle([(key, at, None) for key, at, _ in rows])


def takes_the_first_of_equals(rows: list[Row]) -> list[int]:
    last = len(rows) - 1
    return sorted(last - position for position in oracle(rows[::-1]))


def ours(rows: list[Row]) -> list[int]:
    return newest(frame(rows), ["id"], ["at", "created"]).tolist()


@given(ROWS)
def test_the_newest_rows_are_those_that_no_other_row_beats(rows: list[Row]) -> None:
    assert ours(rows) == oracle(rows)


@pytest.mark.parametrize("bug", [ignores_created, takes_the_first_of_equals])
def test_the_oracle_catches(bug: Callable[[list[Row]], list[int]]) -> None:
    assert find(ROWS, lambda rows: bug(rows) != ours(rows))


def test_a_view_without_entities_has_one_newest_row() -> None:
    rows = frame([("a", 1, None), ("b", 2, None), ("a", 0, None)]).drop("id", "created")
    assert newest(rows, [], ["at"]).tolist() == [1]
    assert newest(rows.clear(), [], ["at"]).tolist() == []
