"""Stored values of an earlier schema: types that change, features that come, lives that change."""

from collections.abc import Callable
from typing import Any

from feast.types import Bool, Float64, Int64, String

from tests.feast_fusion.conformance.engines import Case, Raises, Repo, rows_of, stock, user_view

ONE = {"user_id": [1]}


def retyped(before: Any, after: Any, *, materialized: bool = False) -> Callable[[Repo], object]:
    """What is read of 1.5 after its feature has got another type."""

    def run(repo: Repo) -> object:
        path = repo.write("users.parquet", rows_of(x=[1.5]))
        repo.apply(user_view(path, {"x": before}))
        repo.materialize()
        repo.apply(user_view(path, {"x": after}))
        if materialized:
            repo.materialize()
        return repo.online(["users:x"], ONE)["x"]

    return run


def feature_added(repo: Repo) -> object:
    path = repo.write("users.parquet", rows_of(x=[1], y=[2]))
    repo.apply(user_view(path, {"x": Int64}))
    repo.materialize()
    repo.apply(user_view(path, {"x": Int64, "y": Int64}))
    before = repo.online(["users:y"], ONE)["y"]
    repo.materialize()
    return before, repo.online(["users:x", "users:y"], ONE)


def life_changed(repo: Repo) -> object:
    """The seconds that an entity lives, as changed from none to 1,000 and back to none."""
    path = repo.write("users.parquet", rows_of(x=[1]))
    repo.apply(user_view(path, {"x": Int64}))
    repo.materialize()
    lives = []
    for seconds in (1_000, None):
        other = repo.reopened(key_ttl_seconds=seconds)
        other.materialize()
        client = other.store._get_provider().online_store._get_client(
            other.store.config.online_store
        )
        [key] = client.scan_iter(b"*" + repo.project.encode())
        lives.append(client.ttl(key) > 0)
        client.close()
        other.close()
    return lives


UNREADABLE = Raises(
    "SchemaError: view users, feature x: got a stored Float64, expected .*materialize the view"
)
SILENT = stock([1.5])  # a number, whatever the view says

CASES = {
    "a number whose feature is text now": Case(retyped(Float64, String), UNREADABLE, SILENT),
    "a number whose feature is a truth value now": Case(retyped(Float64, Bool), UNREADABLE, SILENT),
    "a number whose feature is an integer now": Case(retyped(Float64, Int64), UNREADABLE, SILENT),
    "a feature of another type, materialized again": Case(
        retyped(Float64, String, materialized=True), ["1.5"], SILENT
    ),
    "a feature added, and materialized again": Case(
        feature_added,
        ([None], {"x": [1], "y": [2]}),
        stock(([None], {"x": [1], "y": [None]})),
    ),
    "key_ttl_seconds changed, the same rows again": Case(
        life_changed, [True, False], stock([False, False])
    ),
}
