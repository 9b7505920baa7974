"""Sources as people have them, online and in history: each engine's answer, right or recorded."""

import csv
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FileSource, KafkaSource, PushSource, StreamFeatureView
from feast.data_format import JsonFormat, ParquetFormat
from feast.data_source import PushMode
from feast.field import Field
from feast.types import Int64, String

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

USERS = {"user_id": [1, 2]}
OUTSIDE = (
    "Feature view 'users', source 'users_rows': none of its 2 rows is in the window from "
    "2024-10-27T00:00:00+00:00 to 2024-10-28T00:00:00+00:00; their event_timestamp is from "
    "2024-01-01T00:00:00+00:00 to 2024-01-01T00:00:00+00:00"
)


def read_both(repo: Repo, *features: str) -> object:
    """Of each feature the values of users 1 and 2 after materializing: online, and in history."""
    features = features or ("x",)
    names = [f"users:{name}" for name in features]
    history = repo.history(names, USERS)
    repo.materialize()
    online = repo.online(names, USERS)
    found = [(online[name], history[name]) for name in features]
    return found if len(found) > 1 else found[0]


def source(path: str, **options: Any) -> FileSource:
    given = {"timestamp_field": "event_timestamp", "file_format": ParquetFormat()} | options
    return FileSource(name="users_rows", path=path, **given)


def mapped_over_a_raw_column(repo: Repo) -> object:
    path = repo.write("users.parquet", rows_of(x_clean=[1, 2], x=[-99, -98]))
    view = user_view(path, {"x": Int64}, source=source(path, field_mapping={"x_clean": "x"}))
    repo.apply(view)
    return read_both(repo)


def times_of(repo: Repo, column: pa.Array) -> object:
    path = repo.write("users.parquet", rows_of(x=[1, 2], event_timestamp=column))
    repo.apply(user_view(path, {"x": Int64}))
    return read_both(repo)


def seconds(repo: Repo) -> object:
    return times_of(repo, pa.array([1_704_067_200, 1_704_067_200]))


def milliseconds(repo: Repo) -> object:
    return times_of(repo, pa.array([1_704_067_200_000, 1_704_067_200_000]))


def texts_without_a_zone(repo: Repo) -> object:
    return times_of(repo, pa.array(["2024-01-01 09:00:00", "2024-01-01"]))


def texts_with_a_zone(repo: Repo) -> object:
    return times_of(repo, pa.array(["2024-01-01T09:00:00+09:00", "2024-01-02T00:00:00+09:00"]))


def rows_outside_the_window(repo: Repo) -> object:
    """Whether a materialization that writes nothing because of time says so."""
    path = repo.write("users.parquet", rows_of(x=[1, 2]))
    repo.apply(user_view(path, {"x": Int64}))
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        repo.materialize(T + 300 * DAY, T + 301 * DAY)
    finally:
        logging.getLogger().removeHandler(handler)
    return repo.online(["users:x"], USERS)["x"], [text for text in heard if "none" in text]


def streamed(make: Callable[[FileSource], Any]) -> Callable[[Repo], object]:
    def run(repo: Repo) -> object:
        path = repo.write("users.parquet", rows_of(x=[1, 2]))
        view = StreamFeatureView(
            name="users",
            entities=[USER],
            ttl=timedelta(0),
            schema=[Field(name="user_id", dtype=Int64), Field(name="x", dtype=Int64)],
            source=make(source(path)),
            timestamp_field="event_timestamp",
        )
        repo.apply(view)
        return read_both(repo)

    return run


def pushed_stream(batch: FileSource) -> PushSource:
    return PushSource(name="users_pushed", batch_source=batch)


def kafka_stream(batch: FileSource) -> KafkaSource:
    return KafkaSource(
        name="users_stream",
        kafka_bootstrap_servers="localhost:1",
        topic="users",
        timestamp_field="event_timestamp",
        message_format=JsonFormat("user_id integer, x integer, event_timestamp timestamp"),
        batch_source=batch,
    )


def folder(*parts: tuple[str, pa.Table], path: str = "users") -> Callable[[Repo], object]:
    def run(repo: Repo) -> object:
        for name, table in parts:
            repo.write(f"users/{name}", table)
        place = str(repo.folder / path)
        repo.apply(user_view(place, {"x": Int64}, source=source(place)))
        return read_both(repo)

    return run


ONE, TWO = rows_of(x=[7]), rows_of(user_id=[2], x=[8])
WITHOUT = ONE.drop_columns("x")


def hive(repo: Repo) -> object:
    repo.write("users/year=2023/country=new zealand/a.parquet", ONE)
    repo.write("users/year=2024/country=peru/b.parquet", TWO)
    place = str(repo.folder / "users")
    features = {"x": Int64, "year": Int64, "country": String}
    repo.apply(user_view(place, features, source=source(place)))
    return read_both(repo, "x", "year", "country")


def uri(repo: Repo) -> object:
    repo.write("users/a.parquet", rows_of(x=[7, 8]))
    place = f"file://{repo.folder}/users/a.parquet"
    repo.apply(user_view(place, {"x": Int64}, source=source(place)))
    return read_both(repo)


def delta(repo: Repo) -> object:
    (repo.folder / "users" / "_delta_log").mkdir(parents=True)
    return folder(("a.parquet", rows_of(x=[7, 8])))(repo)


def comma_separated(repo: Repo) -> object:
    path = repo.folder / "users.csv"
    with path.open("w") as file:
        csv.writer(file).writerows([["user_id", "event_timestamp", "x"], [1, T, 7], [2, T, 8]])
    repo.apply(user_view(str(path), {"x": Int64}))
    return read_both(repo)


def pushed_through_a_mapping(repo: Repo) -> object:
    """A row with the names of the files, among them one that a mapped column hides."""
    raw = rows_of(x_clean=[1, 2], x=[-99, -98]).rename_columns(["uid", "at", "x_clean", "x"])
    path = repo.write("users.parquet", raw)
    mapping = {"uid": "user_id", "at": "event_timestamp", "x_clean": "x"}
    pushed = PushSource(name="users_pushed", batch_source=source(path, field_mapping=mapping))
    repo.apply(pushed, user_view(path, {"x": Int64}, source=pushed))
    row = {"x": [-97], "uid": [2], "at": [T + DAY], "x_clean": [9]}
    repo.push("users_pushed", row, PushMode.OFFLINE)
    return repo.history(["users:x"], USERS)["x"], pq.read_table(path).to_pydict()


def first_push(name: str) -> Callable[[Repo], object]:
    """Nothing lies at the path of the source before the first push."""

    def run(repo: Repo) -> object:
        path = str(repo.folder / "absent" / name)
        pushed = PushSource(name="users_pushed", batch_source=source(path))
        repo.apply(pushed, user_view(path, {"x": Int64}, source=pushed))
        for x in (8, 9):
            row = {"user_id": [2], "event_timestamp": [T + x * DAY], "x": [x]}
            repo.push("users_pushed", row, PushMode.OFFLINE)
        return repo.history(["users:x"], USERS)["x"]

    return run


BOTH = ([7, 8], [7, 8])
OTHER_ORDER = ([7, 8], [8, 7])
OTHER_COLUMNS = Raises("ValueError: The input pyarrow table has schema")
NO_TEXT = Raises("AttributeError: 'str' object has no attribute 'tzinfo'")
NO_NUMBER = Raises("AttributeError: 'int' object has no attribute 'tzinfo'")
NOT_A_TIME = Raises("SchemaError: .* timestamp_field 'event_timestamp': got int64.* Convert")
NOT_FOUND = {"duckdb": Raises("FileNotFoundError"), "file": Raises("FileNotFoundError")}
NO_COLUMN = Raises("KeyError: .*'x'.* not in index")

CASES: dict[str, Case] = {
    "a mapping over a raw column": Case(
        mapped_over_a_raw_column,
        ([1, 2], [1, 2]),
        {"duckdb": ([1, 2], [-99, -98]), "file": Raises("Duplicate column")},
    ),
    "seconds as timestamp_field": Case(
        seconds, NOT_A_TIME, {"duckdb": ([1, 2], [1, 2]), "file": NO_NUMBER}
    ),
    "milliseconds as timestamp_field": Case(
        milliseconds, NOT_A_TIME, {"duckdb": ([None, None], [None, None]), "file": NO_NUMBER}
    ),
    "times as texts without a zone": Case(
        texts_without_a_zone,
        ([1, 2], [1, 2]),
        {"duckdb": Raises("ValueError: time data"), "file": NO_TEXT},
    ),
    "times as texts with a zone": Case(texts_with_a_zone, ([1, 2], [1, 2]), {"file": NO_TEXT}),
    "rows outside the window": Case(
        rows_outside_the_window,
        ([None, None], [OUTSIDE]),
        {"duckdb": ([None, None], []), "file": ([None, None], [])},
    ),
    "a stream that is pushed": Case(streamed(pushed_stream), ([1, 2], [1, 2])),
    "a stream of Kafka": Case(streamed(kafka_stream), ([1, 2], [1, 2])),
    "a column of a later file": Case(
        folder(("a.parquet", WITHOUT), ("b.parquet", TWO)),
        ([None, 8], [None, 8]),
        {"duckdb": Raises("IbisTypeError"), "file": NO_COLUMN},
    ),
    "a column of the first file": Case(
        folder(("a.parquet", ONE), ("b.parquet", TWO.drop_columns("x"))),
        ([7, None], [7, None]),
        {"duckdb": Raises("InvalidInput.*schema mismatch"), "file": NO_COLUMN},
    ),
    "hive columns": Case(
        hive,
        [
            ([7, 8], [7, 8]),
            ([2023, 2024], [2023, 2024]),
            (["new zealand", "peru"], ["new zealand", "peru"]),
        ],
        {
            "file": [
                ([7, 8], [8, 7]),
                ([2023, 2024], [2024, 2023]),
                (["new zealand", "peru"], ["peru", "new zealand"]),
            ]
        },
    ),
    "file://": Case(uri, BOTH, {"file": Raises("FileNotFoundError")}),
    "folder of .pq": Case(
        folder(("a.pq", ONE), ("b.pq", TWO)),
        BOTH,
        {"duckdb": Raises("IOException: .*No files found"), "file": OTHER_ORDER},
    ),
    "glob": Case(
        folder(("a.parquet", ONE), ("b.parquet", TWO), path="users/*.parquet"),
        BOTH,
        {"file": OTHER_ORDER},
    ),
    "Delta folder": Case(
        delta, Raises("SchemaError: .*got a Delta table"), {"duckdb": BOTH, "file": BOTH}
    ),
    "CSV": Case(
        comma_separated,
        Raises("SchemaError: .*users.csv: got a CSV file"),
        {"duckdb": Raises("NoneType"), "file": Raises("ArrowInvalid")},
    ),
    "push OFFLINE through a mapping": Case(
        pushed_through_a_mapping,
        (
            [1, 9],
            {"uid": [1, 2, 2], "at": [T, T, T + DAY], "x_clean": [1, 2, 9], "x": [-99, -98, -97]},
        ),
        {"duckdb": OTHER_COLUMNS, "file": OTHER_COLUMNS},
    ),
    "first push OFFLINE to a file": Case(first_push("users.parquet"), [None, 9], NOT_FOUND),
    "first push OFFLINE to a folder": Case(first_push("users"), [None, 9], NOT_FOUND),
}
