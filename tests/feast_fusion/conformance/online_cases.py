"""What a user sees of the online store: each engine's answer, right or recorded."""

import pyarrow as pa
from feast.types import Int64

from tests.feast_fusion.conformance.engines import Case, Repo, rows_of, user_view


def read_of_two(repo: Repo) -> object:
    path = repo.write("users.parquet", rows_of(x=pa.array([7, None], pa.int64())))
    repo.apply(user_view(path, {"x": Int64}))
    repo.materialize()
    users = {"user_id": [2, 1, 404]}
    return repo.online(["users:x"], users), repo.history(["users:x"], users)


CASES = {
    "a value, a null and an absent entity": Case(
        read_of_two, ({"x": [None, 7, None]}, {"x": [None, 7, None]})
    ),
}
