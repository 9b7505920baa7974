"""What serving reads is what training would read at the same instant."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from serving.online_features import OnlineFeatures
from tests.conftest import Project
from tests.test_point_in_time_features import same, values_of
from training.retrieval import build_training_set
from transformations.names import SERVICE


def test_online_rows_equal_history_as_of_now(films: Project) -> None:
    now = datetime.now(UTC)
    users, items = ["u1"] * 4, ["f0", "f3", "f79", "f9"]
    spine = pa.table(
        {
            "user_id": users,
            "item_id": items,
            "event_timestamp": pa.array([now] * 4, pa.timestamp("us", "UTC")),
        }
    )
    history = build_training_set(open_store(films.workspace), SERVICE, spine)
    with embedded_redis(films.workspace.redis) as running:
        store = open_store(films.workspace, connection_string(running.url))
        features = OnlineFeatures(store, SERVICE)
        user, replies = features.read_both("u1", items, now)
        online = features.join(user, items, replies, now)
    assert len(online) == len(history) == 4
    for row in range(4):
        found, expected = values_of(online, row), values_of(history, row)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert same(found[name], value), (name, found[name], value)


def test_absent_users_and_items_have_nulls_not_values(films: Project) -> None:
    with embedded_redis(films.workspace.redis) as running:
        store = open_store(films.workspace, connection_string(running.url))
        features = OnlineFeatures(store, SERVICE)
        items, now = ["nothing", "f1"], datetime.now(UTC)
        user = features.read_user("nobody")
        rows = features.join(user, items, features.read_items(items), now)
    assert rows.vectors["user_interest"].index.tolist() == [-1, -1]
    assert rows.vectors["item_embedding"].index.tolist() == [-1, 0]
    assert rows.table["item_stats__item_n_events"].to_pylist()[0] is None
    assert rows.table["user_stats__user_n_events"].null_count == 2
    np.testing.assert_array_equal(rows.lists["user_recent__item_ids"].present, [False, False])
