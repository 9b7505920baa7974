"""Rows found on Spark are those found in this process; FUSION_TEST_SPARK names a server of Spark.

Without it the tests run on Sail, which needs no Java.
"""

import os
import random
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.types import Array, Float32, Int64
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from feast_fusion.errors import NotOfferedError, StoreUnavailableError
from feast_fusion.parquet.opening import open_files
from feast_fusion.retrieval.asof_join import AsOf
from feast_fusion.retrieval.spark.ranges import (
    RANGE,
    Edges,
    label_places,
    label_ranges,
    row_places,
    row_ranges,
)
from feast_fusion.retrieval.spark.result_tasks import RESULT_ROWS
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.retrieval.offline_repo import OURS, make_store
from tests.scale.object_store import Lake

URL = os.environ.get("FUSION_TEST_SPARK", "local")
BASE_US = 1_700_000_000_000_000
SHOPS = ["1", "11", "12", "2", "用户"]  # ("1", "12") and ("11", "2") are two pairs
REFS = ["of_user:x", "of_user:vector", "of_pair:x", "recent:x", "of_all:x"]


def spark(rows_per_group: int = 1_000_000) -> dict[str, Any]:
    return {"type": "spark", "url": URL, "rows_per_group": rows_per_group}


def views(folder: Path | str, endpoint: str | None = None) -> list[Any]:
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.STRING)
    branch = Entity(name="branch", join_keys=["branch_id"], value_type=ValueType.STRING)

    def view(name: str, entities: list[Entity], ttl_us: int, created: str | None) -> FeatureView:
        return FeatureView(
            name=name,
            entities=entities,
            ttl=timedelta(microseconds=ttl_us),
            schema=[
                Field(name="x", dtype=Int64),
                Field(name="vector", dtype=Array(Float32), vector_index=True, vector_length=2),
            ],
            source=FileSource(
                name=f"rows of {name}",
                path=f"{folder}/rows",
                s3_endpoint_override=endpoint,
                timestamp_field="moment",
                created_timestamp_column=created,
                field_mapping={"happened": "moment"},
            ),
        )

    return [
        user,
        shop,
        branch,
        view("of_user", [user], 0, "created"),
        view("of_pair", [shop, branch], 0, "created"),
        view("recent", [user], 2, None),
        view("of_all", [], 0, "created"),
    ]


def write_rows(folder: Path, rng: random.Random, n: int) -> None:
    """Few instants and keys, and one user with half of the rows; two files of row groups."""
    numbers = np.random.default_rng(rng.randrange(1 << 32))
    table = pa.table(
        {
            **keys(rng, n),
            "happened": moments(rng, n),
            "created": moments(rng, n),
            "x": pa.array(range(n)),
            "vector": pa.array(list(numbers.random((n, 2), np.float32)), pa.list_(pa.float32())),
        }
    )
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    middle = rng.randrange(n)
    for name, part in {"a": table.slice(0, middle), "b": table.slice(middle)}.items():
        size = rng.choice([1, 7, 1000]) if n < 500 else 1000
        pq.write_table(part, folder / "rows" / f"{name}.parquet", row_group_size=size)


def keys(rng: random.Random, n: int) -> dict[str, pa.Array]:
    users = [rng.choice([1, 1, 1, 2, 3, 4, None]) for _ in range(n)]
    return {
        "user_id": pa.array(users, pa.int64()),
        "shop_id": pa.array([rng.choice([*SHOPS, None]) for _ in range(n)], pa.string()),
        "branch_id": pa.array([rng.choice(SHOPS) for _ in range(n)], pa.string()),
    }


def moments(rng: random.Random, n: int) -> pa.Array:
    found = [None if rng.random() < 0.03 else BASE_US + rng.randrange(40) for _ in range(n)]
    return pa.array(found, TIMESTAMP)


def labels(rng: random.Random, n: int) -> pa.Table:
    return pa.table({**keys(rng, n), "event_timestamp": moments(rng, n), "row": range(n)})


@settings(
    max_examples=8,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 1 << 32),
    n_rows=st.sampled_from([1, 40, 3000]),
    n_labels=st.sampled_from([0, 30, 2000]),
    rows_per_group=st.sampled_from([2, 300, 1_000_000]),
    rule=st.fixed_dictionaries(
        {"filter_by_created_timestamp": st.booleans(), "strictly_before": st.booleans()}
    ),
)
def test_spark_finds_what_this_process_finds(
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    seed: int,
    n_rows: int,
    n_labels: int,
    rows_per_group: int,
    rule: dict[str, bool],
) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("shop")
    write_rows(folder, rng, n_rows)
    entities = labels(rng, n_labels)
    per_group = max(rows_per_group, (n_rows + n_labels) // 20)  # some forty ranges

    def answers(**options: Any) -> tuple[pa.Table, pa.Table, list[str]]:
        caplog.clear()
        store = make_store(folder / str(len(options)), views(folder), **rule, **options)
        job = store.get_historical_features(entities, REFS, full_feature_names=True)
        table, said = job.to_arrow(), [record.getMessage() for record in caplog.records]
        return table, job.to_training_set().to_arrow(), said

    expected = answers()
    assert answers(engine=spark(per_group)) == expected
    if n_rows == 3000 and n_labels == 2000:
        assert expected[0]["of_pair__x"].null_count < n_labels
        assert bool(expected[2]) == rule["filter_by_created_timestamp"]


def test_no_range_is_larger_than_asked(seed: int = 1) -> None:
    """One key with half of all rows, all of them of few instants, and late created times."""
    rng = np.random.default_rng(seed)
    n, limit = 100_000, 5_000
    rows = pl.DataFrame(
        {
            "k0": np.where(rng.random(n) < 0.5, 7, rng.integers(0, 10_000, n)),
            "ts": rng.integers(0, 3, n),
            "created": rng.integers(0, 3, n),
            "position": np.arange(n),
        }
    )
    asked = rows.select("k0", t="ts", row="position")
    rule = AsOf(filter_by_created_timestamp=True)
    places = [label_places(asked, ["k0"]), *row_places(rows, ["k0"], rule)]
    edges = Edges.between(pl.concat(places), limit // 2)
    placed = [label_ranges(asked, ["k0"], edges), row_ranges(rows, ["k0"], rule, edges)]
    sizes = pl.concat(part.select(RANGE) for part in placed)[RANGE].value_counts()
    assert sizes["count"].max() <= limit
    assert len(sizes) == len(edges.key) + 1 > 100


def test_feature_store_yaml_names_the_engine(tmp_path: Path) -> None:
    rng = random.Random(5)
    write_rows(tmp_path, rng, 400)
    entities = labels(rng, 300)
    path = tmp_path / "entities.parquet"
    pq.write_table(entities, path)
    found = []
    for engine in ("{type: local}", f"{{type: spark, url: '{URL}'}}"):
        (tmp_path / "feature_store.yaml").write_text(
            f"project: shop\nprovider: local\nregistry: {tmp_path}/registry.db\n"
            f"online_store: {{type: sqlite, path: {tmp_path}/online.db}}\n"
            f"offline_store: {{type: {OURS}, engine: {engine}}}\n"
            "entity_key_serialization_version: 3\n"
        )
        store = FeatureStore(repo_path=str(tmp_path))
        store.apply(views(tmp_path))
        job = store.get_historical_features(str(path), REFS, full_feature_names=True)
        saved = job.to_training_set().save(tmp_path / "training_set")
        found.append((saved / "manifest.json").read_bytes())
    assert found[0] == found[1]


def read(filesystem: fs.FileSystem, folder: str) -> pa.Table:
    return open_files(filesystem, folder, "result").read()


def test_workers_write_the_result(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two files, the second of which replaces what is there; then in the place for staging."""
    rng = random.Random(3)
    write_rows(tmp_path, rng, 3000)
    entities = labels(rng, RESULT_ROWS + 5)

    def job(**options: Any) -> RetrievalJob:
        rule = {"filter_by_created_timestamp": True}
        store = make_store(tmp_path / "repo", views(tmp_path), **rule, **options)
        return store.get_historical_features(entities, REFS, full_feature_names=True)

    here = job()
    here.persist(SavedDatasetFileStorage(str(tmp_path / "expected")))
    expected, said = read(fs.LocalFileSystem(), str(tmp_path / "expected")), caplog.messages[:]
    caplog.clear()
    there = job(engine=spark(20_000), staging_location=str(tmp_path / "staging"))
    target = SavedDatasetFileStorage(str(tmp_path / "written"))
    there.persist(target)
    assert caplog.messages == said != []
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        there.persist(target)
    there.persist(target, allow_overwrite=True)
    assert len(list((tmp_path / "written").iterdir())) == 2
    assert read(fs.LocalFileSystem(), str(tmp_path / "written")) == expected
    paths = there.to_remote_storage()
    assert pa.concat_tables(map(pq.read_table, paths)).equals(expected)
    with pytest.raises(NotOfferedError, match="engine spark"):
        here.to_remote_storage()


def test_from_an_object_store_to_an_object_store(tmp_path: Path, lake: Lake) -> None:
    rng = random.Random(4)
    write_rows(tmp_path, rng, 300)
    entities = labels(rng, 50)
    filesystem, _ = fs.FileSystem.from_uri("s3://lake")
    fs.copy_files(str(tmp_path / "rows"), "lake/spark/rows", fs.LocalFileSystem(), filesystem)
    expected = make_store(tmp_path / "here", views(tmp_path)).get_historical_features(
        entities, REFS, full_feature_names=True
    )
    there = make_store(tmp_path / "there", views("s3://lake/spark", lake.url), engine=spark())
    job = there.get_historical_features(entities, REFS, full_feature_names=True)
    assert job.to_arrow() == expected.to_arrow()
    job.persist(SavedDatasetFileStorage("s3://lake/spark/result", s3_endpoint_override=lake.url))
    assert read(filesystem, "lake/spark/result").equals(expected.to_arrow())
    assert [name.startswith("part-") for name in lake.files("spark/result")] == [True]


def test_a_result_that_cannot_be_made_leaves_what_is_there(tmp_path: Path) -> None:
    rng = random.Random(2)
    write_rows(tmp_path, rng, 200)
    store = make_store(tmp_path / "repo", views(tmp_path), engine=spark())
    job = store.get_historical_features(labels(rng, 10), REFS, full_feature_names=True)
    target = SavedDatasetFileStorage(str(tmp_path / "written"))
    job.persist(target)
    before = list((tmp_path / "written").iterdir())
    write_rows(tmp_path, rng, 300)
    with pytest.raises(StoreUnavailableError, match=r"got a file that was .*replaced"):
        job.persist(target, allow_overwrite=True)
    assert list((tmp_path / "written").iterdir()) == before


def test_a_file_that_was_replaced_meanwhile_is_named(tmp_path: Path) -> None:
    rng = random.Random(2)
    write_rows(tmp_path, rng, 200)
    store = make_store(tmp_path / "repo", views(tmp_path), engine=spark())
    job = store.get_historical_features(labels(rng, 10), REFS, full_feature_names=True)
    write_rows(tmp_path, rng, 300)
    with pytest.raises(
        StoreUnavailableError, match=r"[ab]\.parquet: got a file that was .*replaced"
    ):
        job.to_arrow()


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    rng = random.Random(2)
    write_rows(tmp_path, rng, 20)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine = {"type": "spark", "url": f"sc://127.0.0.1:{port}"}
    store = make_store(tmp_path / "repo", views(tmp_path), engine=engine)
    job = store.get_historical_features(labels(rng, 10), REFS, full_feature_names=True)
    with pytest.raises(StoreUnavailableError, match=f"no answer from sc://127.0.0.1:{port}"):
        job.to_arrow()
