"""The calls that an offline store answers: each engine's answer, right or recorded."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureService, Field, FileSource, RequestSource, ValueType
from feast.data_format import ParquetFormat
from feast.feature_logging import (
    LOG_TIMESTAMP_FIELD,
    FeatureServiceLoggingSource,
    LoggingConfig,
)
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String

from tests.feast_fusion.conformance.engines import (
    DAY,
    USER,
    Case,
    Raises,
    Repo,
    T,
    rows_of,
    user_view,
)

ITEM = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
# Rows of user 1 on days 0, 1 and 5 and of user 2 on day 1.
ROWS = rows_of(user_id=[1, 1, 1, 2], event_timestamp=[T, T + DAY, T + 5 * DAY, T + DAY],
               x=[10, 11, 15, 21])  # fmt: skip


def apply_rows(repo: Repo) -> None:
    repo.apply(user_view(repo.write("users.parquet", ROWS), {"x": Int64}))


def rows_between(repo: Repo, features: Sequence[str], start: datetime, end: datetime) -> Any:
    """Rows of a retrieval without an entity table, times as days after `T`, in their own order."""
    job = repo.store.get_historical_features(
        features=list(features), start_date=start, end_date=end
    )
    rows = job.to_df().to_dict("records")
    for row in rows:
        row["event_timestamp"] = (row["event_timestamp"] - pd.Timestamp(T)) / DAY
    return rows


def between_two_times(repo: Repo) -> object:
    apply_rows(repo)
    return rows_between(repo, ["users:x"], T + DAY, T + 5 * DAY)


def between_without_an_end(repo: Repo) -> object:
    apply_rows(repo)
    job = repo.store.get_historical_features(features=["users:x"], start_date=T + DAY)
    return sorted(job.to_df()["x"])


def between_of_two_views(repo: Repo) -> object:
    """A view of user and item decides which rows there are; the view of users joins them."""
    both = pa.table(
        {
            "user_id": [1, 2, 3],
            "item_id": [7, 7, 8],
            "event_timestamp": [T + 2 * DAY, T, T],
            "y": [1.5, 2.5, 3.5],
        }
    )
    pairs = user_view(
        repo.write("pairs.parquet", both), {"y": Float64}, name="pairs", entities=[USER, ITEM]
    )
    repo.apply(ITEM, pairs, user_view(repo.write("users.parquet", ROWS), {"x": Int64}))
    found = rows_between(repo, ["pairs:y", "users:x"], T, T + 9 * DAY)
    return [[None if pd.isna(v) else v for v in row.values()] for row in found]


def between_of_unrelated_views(repo: Repo) -> object:
    items = pa.table({"item_id": [7], "event_timestamp": [T], "y": [1.5]})
    view = user_view(
        repo.write("items.parquet", items), {"y": Float64}, name="items", entities=[ITEM]
    )
    repo.apply(ITEM, view, user_view(repo.write("users.parquet", ROWS), {"x": Int64}))
    return rows_between(repo, ["items:y", "users:x"], T, T + 9 * DAY)


def between_for_a_request(repo: Repo) -> object:
    """An on-demand view needs a value of the request, which no source has."""
    users = user_view(repo.write("users.parquet", ROWS), {"x": Int64})
    request = RequestSource(name="request", schema=[Field(name="more", dtype=Int64)])

    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        sources=[users, request], schema=[Field(name="total", dtype=Int64)]
    )
    def sums(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"total": inputs["x"] + inputs["more"]})

    repo.apply(users, sums)
    return rows_between(repo, ["sums:total"], T, T + 9 * DAY)


def labels() -> pd.DataFrame:
    return pd.DataFrame({"user_id": [2, 1], "event_timestamp": [T + 2 * DAY, T + 3 * DAY]})


def polars_table(repo: Repo) -> object:
    apply_rows(repo)
    job = repo.store.get_historical_features(pl.from_pandas(labels()), ["users:x"])
    return job.to_df()["x"].tolist()


def lazy_polars_table(repo: Repo) -> object:
    apply_rows(repo)
    job = repo.store.get_historical_features(pl.from_pandas(labels()).lazy(), ["users:x"])
    return job.to_df()["x"].tolist()


def arrow_table(repo: Repo) -> object:
    apply_rows(repo)
    job = repo.store.get_historical_features(pa.Table.from_pandas(labels()), ["users:x"])
    return job.to_df()["x"].tolist()


def path_of_a_table(repo: Repo) -> object:
    apply_rows(repo)
    path = repo.write("labels.parquet", pa.Table.from_pandas(labels()))
    return repo.store.get_historical_features(path, ["users:x"]).to_df()["x"].tolist()


def by_sql(repo: Repo, query: str) -> list[Any]:
    """Two views and a registered source of labels, whose columns the source renames."""
    orders = pa.table({"uid": [2, 1, 3], "at": [T + 2 * DAY, T + 3 * DAY, T], "price": [5, 9, 1]})
    source = FileSource(
        name="orders",
        path=repo.write("orders.parquet", orders),
        timestamp_field="event_timestamp",
        field_mapping={"uid": "user_id", "at": "event_timestamp"},
    )
    repo.apply(source, user_view(repo.write("users.parquet", ROWS), {"x": Int64}))
    found = repo.store.get_historical_features(query, ["users:x"]).to_df()
    return found.drop(columns="event_timestamp").to_numpy().tolist()


def sql_over_a_source(repo: Repo) -> object:
    return by_sql(
        repo,
        "SELECT user_id, event_timestamp, 2 * price AS double FROM orders WHERE price > 1 "
        "ORDER BY price DESC",
    )


def sql_over_two_sources(repo: Repo) -> object:
    return by_sql(
        repo,
        "WITH known AS (SELECT DISTINCT user_id FROM users_rows) "
        "SELECT * FROM orders JOIN known USING (user_id) ORDER BY price",
    )


def sql_over_no_source(repo: Repo) -> object:
    return by_sql(repo, "SELECT user_id, event_timestamp FROM purchases")


def sql_over_a_file(repo: Repo) -> object:
    path = repo.write("labels.parquet", pa.Table.from_pandas(labels()))
    return by_sql(repo, f"SELECT * FROM read_parquet('{path}')")


def to_sql(repo: Repo) -> object:
    apply_rows(repo)
    return repo.store.get_historical_features(labels(), ["users:x"]).to_sql()


def to_remote_storage(repo: Repo) -> object:
    apply_rows(repo)
    return repo.store.get_historical_features(labels(), ["users:x"]).to_remote_storage()


def measured(repo: Repo, path: str, **options: Any) -> dict[str, Any]:
    """Of each column rows, nulls, mean and largest value, or its most frequent values."""
    options |= {"timestamp_field": "event_timestamp", "file_format": ParquetFormat()}
    source = FileSource(name="people", path=path, **options)
    repo.apply(user_view(path, {"x": Int64, "name": String}, source=source))
    found = repo.store._get_provider().offline_store.compute_monitoring_metrics(
        config=repo.store.config,
        data_source=source,
        feature_columns=[("x", "numeric"), ("name", "categorical")],
        timestamp_field="event_timestamp",
        start_date=T,
        end_date=T + DAY,
    )
    x, name = found
    top = {each["value"]: each["count"] for each in name["histogram"]["values"]}
    numbers = (x["row_count"], x["null_count"], x["mean"], x["max_val"])
    return {"x": numbers, "name": (name["row_count"], name["null_count"], top)}


PEOPLE = rows_of(
    user_id=[1, 2, 3, 4],
    event_timestamp=[T, T + DAY, T + DAY / 2, T + timedelta(days=1, microseconds=1)],
    x=[10, None, 21, 99],
    name=["a", None, "a", "z"],
)
MEASURED = {"x": (3, 1, 15.5, 21.0), "name": (3, 1, {"a": 2})}


def monitoring_of_a_file(repo: Repo) -> object:
    return measured(repo, repo.write("people.parquet", PEOPLE))


def monitoring_of_a_folder(repo: Repo) -> object:
    repo.write("people/a.parquet", PEOPLE.slice(0, 2))
    repo.write("people/b.parquet", PEOPLE.slice(2))
    return measured(repo, str(repo.folder / "people"))


def monitoring_of_a_mapped_file(repo: Repo) -> object:
    renamed = PEOPLE.rename_columns(["user_id", "event_timestamp", "x_raw", "name"])
    path = repo.write("people.parquet", renamed.append_column("x", pa.array([0, 0, 0, 0])))
    return measured(repo, path, field_mapping={"x_raw": "x"})


def logged_features(repo: Repo) -> object:
    """Logged to a folder that is not there yet."""
    users = user_view(repo.write("users.parquet", ROWS), {"x": Int64})
    folder = repo.folder / "absent" / "log"
    destination = FileLoggingDestination(path=str(folder))
    service = FeatureService(
        name="logged", features=[users], logging_config=LoggingConfig(destination=destination)
    )
    repo.apply(users, service)
    schema = FeatureServiceLoggingSource(service, repo.project).get_schema(repo.store.registry)
    row = dict.fromkeys(schema.names) | {"user_id": 1, LOG_TIMESTAMP_FIELD: T, "users__x": 5}
    log = pa.Table.from_pylist([row], schema=schema)
    repo.store.write_logged_features(logs=log, source=service)
    (repo.folder / "buffer").mkdir()
    pq.write_table(log, repo.folder / "buffer" / "0.parquet")
    repo.store.write_logged_features(logs=Path(repo.folder / "buffer"), source=service)
    return pq.read_table(folder)["users__x"].to_pylist()


NO_RANGE = Raises("TypeError: .*unexpected keyword argument 'start_date'")
DASK_ONLY = Raises("ValueError: Please provide an entity_df of type pd.DataFrame")
NO_COLUMNS = Raises("AttributeError: .* has no attribute 'columns'")

CASES = {
    # file answers with one row of each entity, as of the end.
    "the rows between two times": Case(
        between_two_times,
        [
            {"user_id": 1, "event_timestamp": 1.0, "x": 11},
            {"user_id": 2, "event_timestamp": 1.0, "x": 21},
            {"user_id": 1, "event_timestamp": 5.0, "x": 15},
        ],
        {
            "duckdb": NO_RANGE,
            "file": [
                {"event_timestamp": 5.0, "user_id": 2, "x": 21},
                {"event_timestamp": 5.0, "user_id": 1, "x": 15},
            ],
        },
    ),
    "the rows from a time on": Case(
        between_without_an_end, [11, 15, 21], {"duckdb": NO_RANGE, "file": [15, 21]}
    ),
    # file gives each pair the row of user 1.
    "the rows of two views between two times": Case(
        between_of_two_views,
        [[2, 7, 0.0, 2.5, None], [3, 8, 0.0, 3.5, None], [1, 7, 2.0, 1.5, 11.0]],
        {
            "duckdb": NO_RANGE,
            "file": [[9.0, 2, 7, 2.5, 1, 15], [9.0, 3, 8, 3.5, 1, 15], [9.0, 1, 7, 1.5, 1, 15]],
        },
    ),
    "the rows of unrelated views between two times": Case(
        between_of_unrelated_views,
        Raises("SchemaError: retrieval by start_date and end_date: got feature views with"),
        {
            "duckdb": NO_RANGE,
            "file": [
                {"event_timestamp": 9.0, "item_id": 7, "y": 1.5, "user_id": 2, "x": 21},
                {"event_timestamp": 9.0, "item_id": 7, "y": 1.5, "user_id": 1, "x": 15},
            ],
        },
    ),
    "a request's value between two times": Case(
        between_for_a_request,
        Raises("SchemaError: entity table: got columns .*, expected also 'more'"),
        {"duckdb": NO_RANGE, "file": Raises("KeyError: 'more'")},
    ),
    "entities in polars": Case(
        polars_table, [21, 11], {"duckdb": Raises("AttributeError: .*'loc'"), "file": DASK_ONLY}
    ),
    "entities in a polars query": Case(
        lazy_polars_table,
        [21, 11],
        {"duckdb": Raises("PerformanceWarning|'loc'"), "file": DASK_ONLY},
    ),
    "entities in Arrow": Case(
        arrow_table, [21, 11], {"duckdb": Raises("AttributeError: .*'dtypes'"), "file": DASK_ONLY}
    ),
    "entities in a Parquet file": Case(
        path_of_a_table, [21, 11], {"duckdb": NO_COLUMNS, "file": DASK_ONLY}
    ),
    "entities by SQL over a source": Case(
        sql_over_a_source, [[1, 18, 11], [2, 10, 21]], {"duckdb": NO_COLUMNS, "file": DASK_ONLY}
    ),
    "entities by SQL over two sources": Case(
        sql_over_two_sources, [[2, 5, 21], [1, 9, 11]], {"duckdb": NO_COLUMNS, "file": DASK_ONLY}
    ),
    "entities by SQL over no source": Case(
        sql_over_no_source,
        Raises(r"SchemaError: .*purchases does not exist.*sources \['orders', 'users_rows'\]"),
        {"duckdb": NO_COLUMNS, "file": DASK_ONLY},
    ),
    "entities by SQL over a file": Case(
        sql_over_a_file,
        Raises("SchemaError: entity table by SQL: .*operations are disabled"),
        {"duckdb": NO_COLUMNS, "file": DASK_ONLY},
    ),
    "SQL of a job": Case(
        to_sql,
        Raises("NotOfferedError: to_sql: got a job .* Use to_df"),
        {"duckdb": Raises("NotImplementedError: $"), "file": Raises("NotImplementedError: $")},
    ),
    "export of a job": Case(
        to_remote_storage,
        Raises("NotOfferedError: to_remote_storage: .* Use persist"),
        {"duckdb": Raises("TypeError: unsupported operand"), "file": Raises("NotImplemented.*: $")},
    ),
    "monitoring of a file": Case(monitoring_of_a_file, MEASURED),
    "monitoring of a folder": Case(monitoring_of_a_folder, MEASURED),
    "monitoring of a mapped column": Case(
        monitoring_of_a_mapped_file,
        MEASURED,
        {name: MEASURED | {"x": (3, 0, 0.0, 0.0)} for name in ("duckdb", "file")},
    ),
    "logged features, first time": Case(
        logged_features, [5, 5], {"duckdb": Raises("IOException: .*No such file")}
    ),
}
