"""What Redis has of a user's interest."""

import numpy as np

from cli.embedded_redis import embedded_redis
from cli.feast_repository import open_store
from cli.redis_url import connection_string
from feast_fusion.redis_matrix import online_store_of, read_online
from tests.conftest import Project


def online_interest(project: Project, user_id: str) -> np.ndarray:
    with embedded_redis(project.workspace.redis) as running:
        store = open_store(project.workspace, connection_string(running.url))
        (view,) = [v.name for v in store.list_batch_feature_views() if "interest" in v.name]
        found = read_online(store, [f"{view}:user_interest"], {"user_id": [user_id]})
        online_store_of(store).disconnect()
    vector: np.ndarray = found.columns["user_interest"][0]  # type: ignore[index]
    return vector
