"""Entities and requests at the online store: each engine's answer, right or recorded."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureService, Field, FileSource, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Bool, Float32, Float64, Int64, String

from feast_fusion.redis_matrix import read_online
from tests.feast_fusion.conformance.engines import (
    DAY,
    Case,
    Raises,
    Repo,
    T,
    rows_of,
    stock,
    user_view,
)

ONE = {"user_id": [1]}
USERS = {"user_id": [2, 1, 404]}


def applied(repo: Repo, x: Any, *others: Any, pushed: bool = False, **options: Any) -> Any:
    """The view `users` of a column, applied; its source can be pushed to where `pushed` says so."""
    path = repo.write("users.parquet", rows_of(x=x))
    batch = FileSource(name="users_rows", path=path, timestamp_field="event_timestamp")
    source = PushSource(name="users_pushed", batch_source=batch) if pushed else batch
    view = user_view(path, {"x": Int64}, source=source, **options)
    repo.apply(view, *others)
    return view


def absent_entity(repo: Repo) -> object:
    applied(repo, pa.array([7, None], pa.int64()))
    repo.materialize()
    return repo.online(["users:x"], USERS)


def null_key(repo: Repo) -> object:
    applied(repo, [7])
    repo.materialize()
    return repo.online(["users:x"], {"user_id": [1, None]})


def pushed(at: Any, user: Any = 2) -> Any:
    """What is read after a push of two rows, the second of which has this time and user."""

    def run(repo: Repo) -> object:
        applied(repo, [1], pushed=True)
        rows = {"user_id": [1, user], "x": [5, 6], "event_timestamp": [T, at]}
        repo.push("users_pushed", rows)
        return repo.online(["users:x"], {"user_id": [1, 2]})

    return run


def pushed_list(dtype: Any, value: list[Any]) -> Any:
    """What is read after a push of one list, as it was sent."""

    def run(repo: Repo) -> object:
        path = repo.write("users.parquet", rows_of(x=[value[:1]]))
        batch = FileSource(name="users_rows", path=path, timestamp_field="event_timestamp")
        source = PushSource(name="users_pushed", batch_source=batch)
        repo.apply(user_view(path, {"x": dtype}, source=source))
        repo.push("users_pushed", {"user_id": [1], "x": [value], "event_timestamp": [T]})
        return repo.online(["users:x"], ONE)

    return run


def hidden_column(repo: Repo) -> object:
    """A source that maps `x_clean` to `x`, and has a raw `x` too."""
    path = repo.write("users.parquet", rows_of(x=[-99], x_clean=[1]))
    source = FileSource(
        name="users_rows",
        path=path,
        timestamp_field="event_timestamp",
        field_mapping={"x_clean": "x"},
    )
    repo.apply(user_view(path, {"x": Int64}, source=source))
    repo.materialize()
    return repo.online(["users:x"], ONE), repo.history(["users:x"], ONE)


def two_roles(repo: Repo) -> object:
    view = applied(repo, [1, 2])
    friends = view.with_name("friends").with_join_key_map({"user_id": "friend_id"})
    repo.apply(view, FeatureService(name="roles", features=[view.with_name("self"), friends]))
    repo.materialize()
    service = repo.store.get_feature_service("roles")
    rows = {"friend_id": [2], "user_id": [1]}
    if repo.is_ours:
        found = read_online(repo.store, service, rows, full_feature_names=True)
        assert {name: list(column) for name, column in found.columns.items()} == BOTH_ROLES
    return (
        repo.online(service, rows, full_feature_names=True),
        repo.history(service, rows, full_feature_names=True),
    )


BOTH_ROLES = {"self__x": [1], "friends__x": [2]}


def project_of_a_longer_name(repo: Repo) -> object:
    """What a project reads after one whose name it ends with is torn down."""
    other = Repo(repo.folder / "other", repo.engine, repo.server, f"big{repo.project}")
    for each in (repo, other):
        applied(each, [1])
        each.materialize()
    repo.store.teardown()
    found = other.online(["users:x"], ONE)
    other.close()
    return found


def no_entities(repo: Repo) -> object:
    """A view without entities, materialized and then pushed to."""
    path = repo.write("totals.parquet", rows_of(n=[5]))
    batch = FileSource(name="totals_rows", path=path, timestamp_field="event_timestamp")
    source = PushSource(name="totals_pushed", batch_source=batch)
    repo.apply(user_view(path, {"n": Int64}, name="totals", entities=[], source=source))
    repo.materialize()
    before = repo.online(["totals:n"], {"any": [0]})
    repo.push("totals_pushed", {"n": [9], "event_timestamp": [T + DAY]})
    if repo.is_ours:
        found = read_online(repo.store, ["totals:n"], {})
        assert list(found.columns["n"]) == [9] and list(found.present["totals"]) == [True]
    return before, repo.online(["totals:n"], {"any": [0]})


def request_field_like_a_join_key(repo: Repo) -> object:
    view = applied(repo, [1])
    request = RequestSource(name="asked", schema=[Field(name="user_id", dtype=Int64)])

    @on_demand_feature_view(
        sources=[view, request], schema=[Field(name="z", dtype=Int64)], mode="pandas"
    )
    def sums(inputs: pd.DataFrame) -> pd.DataFrame:
        out = pd.DataFrame()
        out["z"] = inputs["x"] + 10 * inputs["user_id"]
        return out

    repo.apply(view, sums)
    repo.materialize()
    features = ["users:x", "sums:z"]
    return repo.online(features, ONE), repo.history(features, ONE)


def computed_by_another_name(mode: str) -> Any:
    """A service of a stored view and of an on-demand view that it calls `twice`."""

    def run(repo: Repo) -> object:
        view = applied(repo, [1, 2])

        @on_demand_feature_view(sources=[view], schema=[Field(name="z", dtype=Int64)], mode=mode)
        def doubled(inputs):  # type: ignore[no-untyped-def]
            if isinstance(inputs, dict):
                return {"z": [2 * x for x in inputs["x"]]}
            return inputs.assign(z=2 * inputs["x"])[["z"]]

        service = FeatureService(name="both", features=[view, doubled.with_name("twice")])
        repo.apply(view, doubled, service)
        repo.materialize()
        rows, full = {"user_id": [1, 2]}, {"full_feature_names": True}
        return repo.online(service, rows, **full), repo.history(service, rows, **full)

    return run


def one_row_at_a_time(repo: Repo) -> object:
    """A `singleton` view, whose function is called with the values of one row."""
    view = applied(repo, [1, 2])

    @on_demand_feature_view(
        sources=[view], schema=[Field(name="z", dtype=Int64)], mode="python", singleton=True
    )
    def doubled(inputs):  # type: ignore[no-untyped-def]
        return {"z": 2 * inputs["x"]}

    repo.apply(view, doubled)
    repo.materialize()
    rows, features = {"user_id": [1, 2]}, ["users:x", "doubled:z"]
    return repo.online(features, rows), repo.history(features, rows), no_rows(repo, features)


def no_rows(repo: Repo, features: list[str]) -> object:
    return repo.history(features, {"user_id": pd.Series([], dtype="int64")})


def python_view_with_full_names(repo: Repo) -> object:
    view = applied(repo, [1, 2])

    @on_demand_feature_view(sources=[view], schema=[Field(name="z", dtype=Int64)], mode="python")
    def doubled(inputs):  # type: ignore[no-untyped-def]
        return {"z": [2 * x for x in inputs["x"]]}

    repo.apply(view, doubled)
    repo.materialize()
    rows, features = {"user_id": [1, 2]}, ["users:x", "doubled:z"]
    return (
        repo.online(features, rows, full_feature_names=True),
        repo.history(features, rows, full_feature_names=True),
    )


def precomputed(repo: Repo) -> object:
    view = applied(repo, [1, 2], pushed=True)
    repo.apply(view, FeatureService(name="all", features=[view], precompute_online=True))
    repo.materialize()
    repo.push("users_pushed", {"user_id": [1], "x": [9], "event_timestamp": [T + DAY]})
    return repo.online(repo.store.get_feature_service("all"), USERS)


def nearest_vectors(repo: Repo) -> object:
    """The two users nearest to (3, 4)."""
    vectors = pa.array([[0.0, 0.0], [9.0, 9.0], [3.0, 4.0]], pa.list_(pa.float32()))
    path = repo.write("users.parquet", rows_of(x=[10, 20, 30], emb=vectors))
    view = user_view(path, {"x": Int64})
    view.features.append(
        Field(name="emb", dtype=Array(Float32), vector_index=True, vector_length=2)
    )
    repo.apply(view)
    repo.materialize()
    found = repo.store.retrieve_online_documents_v2(["users:x"], top_k=2, query=[3.0, 4.0])
    answer: object = found.to_dict()
    return answer


def run_to_the_future(repo: Repo) -> object:
    """Warnings of an incremental run after one to the year 2031, and what is read then."""
    applied(repo, [1])
    repo.materialize(T, datetime(2031, 1, 1, tzinfo=UTC))
    with heard() as warnings:
        repo.store.materialize_incremental(T + 9 * DAY)
    return [("2031-01-01" in each, "2024-01-10" in each) for each in warnings]


@contextmanager
def heard() -> Iterator[list[str]]:
    """The warnings that are logged meanwhile."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield messages
    finally:
        logging.getLogger().removeHandler(handler)


DOUBLED = {"users__x": [1, 2], "doubled__z": [2, 4]}
TWICE = {"users__x": [1, 2], "twice__z": [2, 4]}
SUMMED = {"x": [1], "z": [11]}
NO_TIME = "'event_timestamp', row 1: got null"

CASES = {
    "an absent entity": Case(absent_entity, {"x": [None, 7, None]}),
    "an entity without a key": Case(null_key, {"x": [7, None]}, stock(Raises("TypeError"))),
    "push of a row without a time": Case(
        pushed(None), Raises(f"RefusedRowsError: .*{NO_TIME}"), stock(Raises("NaTType"))
    ),
    "push of a row without a key": Case(
        pushed(T, user=None),
        Raises("RefusedRowsError: .*'user_id', row 1: got null"),
        stock(Raises("Value type not supported")),
    ),
    "push of a list of texts": Case(pushed_list(Array(String), ["a", "b"]), {"x": [["a", "b"]]}),
    "push of a null in a list of texts": Case(
        pushed_list(Array(String), ["a", None]),
        Raises("RefusedRowsError: .*'x'.*null inside the list"),
        stock({"x": [["a", ""]]}),
    ),
    "push of a null in a list of booleans": Case(
        pushed_list(Array(Bool), [True, None]),
        Raises("RefusedRowsError: .*'x'.*null inside the list"),
        stock({"x": [[True, False]]}),
    ),
    "push of a null in a list of floats": Case(
        pushed_list(Array(Float64), [1.5, None]), {"x": [[1.5, float("nan")]]}
    ),
    "a column that a mapping hides": Case(
        hidden_column, ({"x": [1]}, {"x": [1]}), {"file": Raises("Duplicate column names")}
    ),
    "one view in two roles": Case(
        two_roles,
        (BOTH_ROLES, BOTH_ROLES),
        stock(({"self__x": [1], "friends__x": [1]}, BOTH_ROLES)),
    ),
    "teardown beside a project of a longer name": Case(
        project_of_a_longer_name, {"x": [1]}, stock({"x": [None]})
    ),
    "a view without entities": Case(
        no_entities,
        ({"n": [5]}, {"n": [9]}),
        {"duckdb": Raises("Column __dummy_id not found"), "file": ({"n": [5]}, {"n": [5]})},
    ),
    "a request field named like a join key": Case(
        request_field_like_a_join_key, (SUMMED, SUMMED), stock(Raises("Missing join key values"))
    ),
    "a python view with full names": Case(
        python_view_with_full_names, (DOUBLED, DOUBLED), stock(({"users__x": [1, 2]}, DOUBLED))
    ),
    "a pandas view by another name": Case(
        computed_by_another_name("pandas"),
        (TWICE, TWICE),
        {"duckdb": (TWICE, {"users__x": [1, 2]}), "file": Raises("Could not find feature view")},
    ),
    "a python view by another name": Case(
        computed_by_another_name("python"),
        (TWICE, TWICE),
        {
            "duckdb": ({"users__x": [1, 2]}, {"users__x": [1, 2]}),
            "file": Raises("Could not find feature view"),
        },
    ),
    "a singleton view over two rows, and over none": Case(
        one_row_at_a_time,
        ({"x": [1, 2], "z": [2, 4]}, {"x": [1, 2], "z": [2, 4]}, {"x": [], "z": []}),
        stock(Raises("ArrowInvalid: Added column's length")),
    ),
    "a precomputed service": Case(
        precomputed, {"x": [2, 9, None]}, stock(Raises("pre-computed vectors could not be read"))
    ),
    "the nearest vectors": Case(
        nearest_vectors,
        {"user_id": [3, 1], "x": [30, 10], "distance": [0.0, 5.0], "__rank": [0, 1]},
        stock(Raises("NotImplementedError: .*does not support online retrieval")),
    ),
    "an incremental run after one to the year 2031": Case(
        run_to_the_future, [(True, True)], stock([])
    ),
}
