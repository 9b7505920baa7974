"""`filter_by_created_timestamp`: Feast's own default, and a word about what the rule hides."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Int64

from tests.feast_fusion.retrieval.offline_repo import make_store

DAY_0 = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
# Of user 1 both rows are known at their time, of 2 the newer is late, of 3 and 4 each row is.
ROWS = [(1, 0, 0, 10), (1, 1, 1, 11), (2, 0, 0, 20), (2, 1, 9, 21), (3, 0, 9, 30), (4, 0, None, 40)]


def make_repo(folder: Path, **options: Any) -> FeatureStore:
    rows = [
        {
            "user_id": user,
            "event_timestamp": DAY_0 + happened * DAY,
            "created": None if created is None else DAY_0 + created * DAY,
            "x": x,
        }
        for user, happened, created, x in ROWS
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "users.parquet")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(folder / "users.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    view = FeatureView(
        name="users",
        entities=[user],
        ttl=timedelta(0),
        schema=[Field(name="x", dtype=Int64)],
        source=source,
    )
    return make_store(folder, [user, view], **options)


def seen(store: FeatureStore, **asked: bool) -> list[int | None]:
    labels = pd.DataFrame({"user_id": [1, 2, 3, 4, 5], "event_timestamp": DAY_0 + 5 * DAY})
    found = store.get_historical_features(labels, ["users:x"], **asked).to_arrow()
    values: list[int | None] = found["x"].to_pylist()
    return values


def test_off_unless_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert seen(make_repo(tmp_path)) == [11, 21, 30, 40, None]
    assert not caplog.records


@pytest.mark.parametrize("by_call", [True, False])
def test_what_the_rule_hides_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, by_call: bool
) -> None:
    store = make_repo(tmp_path, **{} if by_call else {"filter_by_created_timestamp": True})
    asked = {"filter_by_created_timestamp": True} if by_call else {}
    assert seen(store, **asked) == [11, 20, None, None, None]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "feature view 'users': 3 of 5 entity rows see an older row, or none" in record.message
