"""What kinds of views the engine materializes, and which it refuses; Feast in this process."""

import logging
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    StreamFeatureView,
    ValueType,
)
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat, ParquetFormat
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.types import Array, Float32, Int64, String

from feast_fusion.errors import SchemaError, StoreUnavailableError
from tests.feast_fusion.feast_repo import DAY_0, make_repo
from tests.feast_fusion.history.table_store import TableSource

pytestmark = [
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental"),
]

USER = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
END = DAY_0 + timedelta(days=100)
TWICE = [Field(name="twice", dtype=Int64)]


def at(days: float) -> datetime:
    return DAY_0 + timedelta(days=days)


def twice(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(twice=df["n"] * 2)


class Repo:
    """A repository on SQLite, with one source table `user_id, at, n` unless a test has another."""

    def __init__(
        self, folder: Path, offline_store: str = "duckdb", runner: str = "{type: local}"
    ) -> None:
        self.folder, self.runner = folder, runner
        online = f"{{type: sqlite, path: {folder}/online.db}}"
        repo = make_repo(
            folder,
            online_store=online,
            offline_store=offline_store,
            batch_rows=3,
            runner=runner,
            definitions="",
        )
        self.store: FeatureStore = repo.store
        self.sink = folder / "sink"

    def write(self, rows: list[tuple[Any, ...]], *names: str, path: str = "source.parquet") -> None:
        names = names or ("user_id", "at", "n")
        table = {name: [row[i] for row in rows] for i, name in enumerate(names)}
        pq.write_table(pa.table(table), self.folder / path)

    def source(self, path: str = "source.parquet", **options: Any) -> FileSource:
        options = {"timestamp_field": "at", "name": path} | options
        if path == "sink":
            options |= {"file_format": ParquetFormat()}
        return FileSource(path=str(self.folder / path), **options)

    def events(self, **options: Any) -> FeatureView:
        arguments = {"schema": [Field(name="n", dtype=Int64)], "source": self.source()} | options
        return FeatureView(name="events", entities=[USER], online=False, **arguments)

    def derived(
        self, udf: Callable[..., Any] = twice, upstream: Any = None, **options: Any
    ) -> BatchFeatureView:
        arguments: dict[str, Any] = {
            "name": "derived",
            "entities": [USER],
            "mode": "pandas",
            "source": upstream or [self.events()],
            "sink_source": self.source("sink"),
            "online": True,
            "offline": True,
            "schema": TWICE,
        }
        return BatchFeatureView(udf=udf, **(arguments | options))

    def apply(self, *views: Any, entities: tuple[Entity, ...] = (USER,)) -> None:
        upstream = [source for view in views for source in view.source_views]
        upstream += [source for view in upstream for source in view.source_views]
        self.store.apply([*entities, *upstream, *views])

    def materialize(self, start: datetime = DAY_0, end: datetime = END) -> None:
        self.store.materialize(start, end)

    def stored(self) -> pl.DataFrame:
        return pl.concat([pl.read_parquet(path) for path in sorted(self.sink.glob("*.parquet"))])

    def online(self, feature: str, *keys: Any, join_key: str = "user_id") -> list[Any]:
        rows = [{join_key: key} for key in keys] if keys else [{DUMMY_ENTITY_ID: DUMMY_ENTITY_VAL}]
        found = self.store.get_online_features([feature], rows).to_dict()
        return list(found[feature.split(":")[1]])


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path)


# --- views without a transformation -------------------------------------------------------------


@pytest.mark.parametrize("offline_store", ["duckdb", "file"])
def test_a_plain_view_goes_online_newest_first_by_time_then_created(
    tmp_path: Path, offline_store: str, caplog: pytest.LogCaptureFixture
) -> None:
    repo = Repo(tmp_path, offline_store)
    rows = [
        ("a", at(2), at(5), 1),
        ("a", at(2), at(4), 2),
        ("b", at(1), at(9), 3),
        ("b", at(3), None, 4),
        (None, at(4), at(4), 5),
        ("c", at(1), at(1), 6),
        ("c", at(1), at(1), 7),
        ("d", at(101), at(1), 8),
    ]
    repo.write(rows, "user", "at", "created", "n")
    source = repo.source(field_mapping={"user": "user_id"}, created_timestamp_column="created")
    repo.apply(FeatureView(name="v", entities=[USER], source=source, schema=repo.events().features))
    with caplog.at_level(logging.WARNING, "feast_fusion"):
        repo.materialize()
    assert repo.online("v:n", "a", "b", "c", "d") == [1, 4, 7, None]
    assert "v: 1 rows have a null join key and are not written online" in caplog.text


def test_a_view_without_entities_has_one_current_row(repo: Repo) -> None:
    repo.write([("x", at(2), 2), ("y", at(3), 3), ("z", at(1), 1)])
    repo.apply(FeatureView(name="v", source=repo.source(), schema=repo.events().features))
    repo.materialize()
    assert repo.online("v:n") == [3]


def test_a_view_that_is_pushed_to_is_materialized_from_its_batch_source(repo: Repo) -> None:
    repo.write([("a", at(2), 2)])
    pushed = PushSource(name="pushed", batch_source=repo.source())
    repo.apply(FeatureView(name="v", entities=[USER], source=pushed, schema=repo.events().features))
    repo.materialize()
    assert repo.online("v:n", "a") == [2]


def test_composite_integer_keys_and_null_values(repo: Repo) -> None:
    entities = (
        Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64),
        Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING),
    )
    rows = [(1, "i", at(1), [1.0]), (1, "j", at(1), None), (1, "i", at(2), [2.0])]
    repo.write(rows, "user_id", "item_id", "at", "v")
    schema = [Field(name="v", dtype=Array(Float32))]
    view = FeatureView(name="v", entities=list(entities), source=repo.source(), schema=schema)
    repo.apply(view, entities=entities)
    repo.materialize()
    keys = [{"user_id": 1, "item_id": "i"}, {"user_id": 1, "item_id": "j"}]
    assert repo.store.get_online_features(["v:v"], keys).to_dict()["v"] == [[2.0], None]


def test_a_source_that_is_not_parquet_comes_through_the_offline_store(tmp_path: Path) -> None:
    repo = Repo(tmp_path, "tests.feast_fusion.history.table_store.TableOfflineStore")
    with sqlite3.connect(tmp_path / "tables.db") as database:
        database.execute("CREATE TABLE events (who TEXT, at INTEGER, n INTEGER)")
        rows = [("a", at(1), 1), ("b", at(2), 2), ("a", at(3), 3), ("a", at(200), 4)]
        database.executemany(
            "INSERT INTO events VALUES (?, ?, ?)",
            [(who, int(when.timestamp()), n) for who, when, n in rows],
        )
    database.close()
    source = TableSource(
        database=str(tmp_path / "tables.db"), name="events", field_mapping={"who": "user_id"}
    )
    repo.apply(repo.derived(upstream=[repo.events(source=source)]))
    repo.materialize()
    assert repo.stored()["twice"].to_list() == [2, 4, 6]
    assert repo.online("derived:twice", "a", "b") == [6, 4]


# --- derived views ------------------------------------------------------------------------------


def test_of_rows_with_one_identity_the_last_is_kept(repo: Repo) -> None:
    rows = [("a", at(1), 1), ("b", at(1), 2), ("a", at(1), 3), (None, at(1), 4), (None, at(1), 5)]
    repo.write(rows)
    repo.apply(repo.derived())
    repo.materialize()
    repo.materialize()
    assert repo.stored()["twice"].to_list() == [4, 6, 10]
    assert repo.online("derived:twice", "a", "b") == [6, 4]


def test_a_correction_with_a_later_created_timestamp_is_a_new_row(repo: Repo) -> None:
    names = ("user_id", "at", "created", "n")
    rows = [("a", at(1), at(1), 1), ("a", at(2), at(2), 2)]
    repo.write(rows, *names)
    upstream = repo.events(source=repo.source(created_timestamp_column="created"))
    sink = repo.source("sink", created_timestamp_column="created")
    repo.apply(repo.derived(upstream=[upstream], sink_source=sink))
    repo.materialize()
    repo.write([*rows, ("a", at(2), at(3), 9)], *names)
    repo.materialize()
    assert repo.stored()["twice"].to_list() == [2, 4, 18]
    assert repo.online("derived:twice", "a") == [18]


def test_views_derived_from_views_compose(repo: Repo) -> None:
    repo.write([("a", at(1), 1), ("b", at(2), 5)])
    middle = repo.derived(name="middle", online=False, offline=False)
    plus = [Field(name="plus", dtype=Int64)]
    repo.apply(
        repo.derived(lambda df: df.assign(plus=df["twice"] + 1), upstream=[middle], schema=plus)
    )
    repo.materialize()
    assert repo.stored()["plus"].to_list() == [3, 11]


def test_a_transformation_sees_the_columns_of_the_upstream_view(repo: Repo) -> None:
    repo.write([("a", at(1), 1, "secret")], "user_id", "at", "n", "undeclared")
    names = [Field(name="names", dtype=String)]
    repo.apply(repo.derived(lambda df: df.assign(names=",".join(df.columns)), schema=names))
    repo.materialize()
    assert repo.stored()["names"].to_list() == ["user_id,n,at"]


def test_without_a_history_only_the_newest_rows_are_transformed(repo: Repo) -> None:
    repo.write([("a", at(1), 1), ("a", at(2), 2), ("b", at(1), 3)])
    count = [Field(name="count", dtype=Int64)]
    repo.apply(
        repo.derived(
            lambda df: df.assign(count=len(df)),
            upstream=repo.source(),
            sink_source=None,
            offline=False,
            schema=count,
        )
    )
    repo.materialize()
    assert repo.online("derived:count", "a", "b") == [2, 2]
    assert not repo.sink.exists()


def _item_of_word(df: pd.DataFrame) -> pd.DataFrame:
    import pathlib

    with pathlib.Path(df["log"].iloc[0]).open("a") as log:
        log.write(f"{len(df)}\n")
    return df.assign(user_id=df["word"].str[0], moment=df["at"] + pd.Timedelta("1us"), twice=1)


def test_a_computed_key_and_timestamp_are_compared_after_the_transformation(repo: Repo) -> None:
    log = str(repo.folder / "calls")
    rows = [(f"{letter}{i}", at(i), log) for i, letter in enumerate("abca")]
    repo.write([*rows, rows[0]], "word", "at", "log")
    view = repo.derived(
        _item_of_word,
        upstream=[
            FeatureView(
                name="words",
                online=False,
                source=repo.source(),
                schema=[Field(name="word", dtype=String), Field(name="log", dtype=String)],
            )
        ],
        sink_source=repo.source("sink", timestamp_field="moment"),
    )
    repo.apply(view)
    repo.materialize()
    repo.materialize()
    assert repo.stored()["user_id"].to_list() == ["a", "b", "c", "a"]
    assert repo.stored()["moment"][0] == at(0) + timedelta(microseconds=1)
    assert Path(log).read_text().split() == ["3", "2", "3", "2"]
    assert repo.online("derived:twice", "a", "d") == [1, None]


def test_a_null_vector_is_kept_and_served_as_missing(repo: Repo) -> None:
    repo.write([("a", at(1), [1.0, 2.0]), ("b", at(1), None)], "user_id", "at", "n")
    field = Field(name="n", dtype=Array(Float32))
    vector = [Field(name="twice", dtype=Array(Float32), vector_index=True, vector_length=2)]
    repo.apply(
        repo.derived(
            lambda df: df.assign(twice=df["n"]),
            upstream=[repo.events(schema=[field])],
            schema=vector,
        )
    )
    repo.materialize()
    assert repo.stored()["twice"].to_list() == [[1.0, 2.0], None]
    assert repo.online("derived:twice", "a", "b") == [[1.0, 2.0], None]


def test_rows_with_a_null_key_stay_offline(repo: Repo, caplog: pytest.LogCaptureFixture) -> None:
    repo.write([("a", at(1), 1), (None, at(2), 2)])
    repo.apply(repo.derived())
    with caplog.at_level(logging.WARNING, "feast_fusion"):
        repo.materialize()
    assert repo.stored()["user_id"].to_list() == ["a", None]
    assert "derived: 1 rows have a null join key" in caplog.text


def test_an_empty_window_and_an_empty_source_are_fine(repo: Repo) -> None:
    pq.write_table(
        pa.schema(
            {"user_id": pa.string(), "at": pa.timestamp("us"), "n": pa.int64()}
        ).empty_table(),
        repo.folder / "source.parquet",
    )
    repo.apply(repo.derived())
    repo.materialize()
    assert repo.stored().height == 0
    assert repo.online("derived:twice", "a") == [None]


# --- refusals -----------------------------------------------------------------------------------


def _refused_at_apply(repo: Repo, view: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        repo.apply(view)


def test_a_history_into_its_own_source_is_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    view = repo.derived(upstream=repo.source(), sink_source=None)
    _refused_at_apply(repo, view, r"'derived': got offline=True with a data source.*sink_source=")


def test_more_than_one_upstream_view_is_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    other = FeatureView(name="other", entities=[USER], source=repo.source(), online=False)
    view = repo.derived(upstream=[repo.events(), other])
    _refused_at_apply(repo, view, r"got 2 upstream views \['events', 'other'\], expected one")


def test_aggregations_are_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    view = repo.derived(aggregations=[Aggregation(column="n", function="sum")])
    _refused_at_apply(repo, view, r"'derived': got aggregations, expected none.*Aggregate in")


def test_another_mode_is_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    view = repo.derived(lambda dataset: dataset, mode="ray")
    _refused_at_apply(repo, view, r"got mode 'ray', expected a BatchFeatureView with mode='pandas'")


def test_a_stream_view_is_refused_only_when_it_is_materialized(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    view = StreamFeatureView(
        name="stream",
        entities=[USER],
        source=PushSource(name="pushed", batch_source=repo.source()),
        schema=TWICE,
        mode="pandas",
        udf=twice,
        udf_string="",
        online=True,
    )
    repo.apply(view)
    with pytest.raises(SchemaError, match=r"'stream', its transformation: got StreamFeatureView"):
        repo.materialize()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_format": DeltaFormat()}, "got FileSource"),
        ({"field_mapping": {"t": "twice_"}}, r"got field_mapping \{'t': 'twice_'\}"),
        ({"path": "s3://bucket/sink"}, "s3://bucket/sink"),
    ],
)
def test_a_sink_that_is_no_local_parquet_folder_is_refused(
    repo: Repo, options: dict[str, Any], message: str
) -> None:
    repo.write([("a", at(1), 1)])
    arguments = {"path": "sink", "timestamp_field": "at"} | options
    _refused_at_apply(repo, repo.derived(sink_source=FileSource(**arguments)), message)


def test_a_sink_that_is_a_single_file_is_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    repo.write([("a", at(1), 1)], path="sink")
    _refused_at_apply(repo, repo.derived(), r"sink .*/sink: got a single file, expected a folder")


def test_a_sink_of_another_schema_is_refused(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    repo.apply(repo.derived())
    changed = repo.derived(schema=[Field(name="twice", dtype=String)])
    _refused_at_apply(repo, changed, r"twice: int64.*expected .*twice: string.*new name")


def test_a_feature_that_a_derived_view_gains_is_filled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Null until its rows are materialized again, which transforms them once more."""
    repo = Repo(tmp_path, "feast_fusion.point_in_time.PointInTimeOfflineStore")
    repo.write([("a", at(1), 1), ("a", at(2), 5), ("b", at(2), 7)])
    repo.apply(repo.derived())
    repo.materialize()
    thrice = [*TWICE, Field(name="thrice", dtype=Int64)]
    repo.apply(repo.derived(lambda df: twice(df).assign(thrice=df["n"] * 3), schema=thrice))
    assert caplog.text.count("a feature that the view gained is null in the rows") == 1

    def history() -> list[tuple[int | None, int | None]]:
        labels = pd.DataFrame(
            {"user_id": ["a", "a", "b"], "event_timestamp": [at(1), *[at(3)] * 2]}
        )
        names = ["derived:twice", "derived:thrice"]
        found = (
            repo.store.get_historical_features(labels, names)
            .to_df()
            .sort_values(["user_id", "event_timestamp"])
        )
        values = found[["twice", "thrice"]].astype(object)
        return [tuple(None if pd.isna(v) else v for v in row) for row in values.to_numpy()]

    assert history() == [(2, None), (10, None), (14, None)]
    repo.materialize()
    assert history() == [(2, 3), (10, 15), (14, 21)]
    n_rows = [pq.read_metadata(path).num_rows for path in sorted(repo.sink.glob("*.parquet"))]
    assert n_rows == [0, 3, 0, 3]
    repo.materialize()
    assert len([*repo.sink.glob("*.parquet")]) == 4, "finished rows are not transformed again"


def test_a_sink_that_is_gone_is_made_again(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    repo.apply(repo.derived())
    for part in repo.sink.iterdir():
        part.unlink()
    repo.sink.rmdir()
    repo.materialize()
    assert repo.stored()["twice"].to_list() == [2]


def _shifted(df: pd.DataFrame) -> pd.DataFrame:
    return twice(df).assign(at=df["at"] + pd.Timedelta("1s"))


def _without_timestamp(df: pd.DataFrame) -> pd.DataFrame:
    return twice(df).assign(at=pd.NaT)


@pytest.mark.parametrize(
    ("udf", "message"),
    [
        (lambda df: df, r"'derived': got columns .*expected also \['twice'\]"),
        (lambda df: df["n"], "its transformation: got Series, expected a pandas DataFrame"),
        (lambda df: df.assign(twice="one"), r"'twice', first at user_id=a, at=2024-01-02.*'one'"),
        (lambda df: df.assign(twice=df["n"] / 2), r"first at user_id=b.*expected int64"),
        (_shifted, r"got a row with \{'user_id': 'a', .*0, 1.*values of \['user_id', 'at'\] kept"),
        (_without_timestamp, "'at', first at user_id=a.*got null, expected a timestamp"),
    ],
)
def test_what_a_transformation_returns_is_checked(
    repo: Repo, udf: Callable[..., Any], message: str
) -> None:
    repo.write([("a", at(1), 2), ("b", at(2), 3)])
    repo.apply(repo.derived(udf))
    with pytest.raises(SchemaError, match=message):
        repo.materialize()
    assert repo.stored().height == 0
    assert repo.store.get_feature_view("derived").most_recent_end_time is None


def test_a_key_that_only_the_transformation_knows_needs_a_history(repo: Repo) -> None:
    repo.write([("ab", at(1))], "word", "at")
    view = repo.derived(upstream=repo.source(), sink_source=None, offline=False)
    repo.apply(view)
    with pytest.raises(SchemaError, match=r"without \['user_id'\].*offline=True"):
        repo.materialize()


def test_a_missing_source_fails_the_command(repo: Repo) -> None:
    repo.write([("a", at(1), 1)])
    repo.apply(repo.derived())
    (repo.folder / "source.parquet").unlink()
    with pytest.raises(
        StoreUnavailableError, match=r"'derived'.*no Parquet file at .*source\.parquet"
    ):
        repo.materialize()


def test_a_vector_that_is_not_finite_does_not_go_online_from_a_plain_view(repo: Repo) -> None:
    repo.write([("a", at(1), [1.0, float("inf")])], "user_id", "at", "v")
    schema = [Field(name="v", dtype=Array(Float32), vector_index=True, vector_length=2)]
    repo.apply(FeatureView(name="v", entities=[USER], source=repo.source(), schema=schema))
    with pytest.raises(SchemaError, match=r"column 'v', first at user_id=a.*value inf.*finite"):
        repo.materialize()


def test_utc_is_what_the_tests_say(repo: Repo) -> None:
    repo.write([("a", datetime(2024, 1, 2), 1)])
    repo.apply(repo.derived())
    repo.materialize(at(1), at(1))
    assert repo.stored()["at"].to_list() == [datetime(2024, 1, 2, tzinfo=UTC)]
