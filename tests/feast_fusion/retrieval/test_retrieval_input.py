"""Bad input gives an error that names what is wrong; unusual input gives the right rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Array, Float32, Int64, String

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.retrieval import feature_columns
from tests.feast_fusion.retrieval.offline_repo import make_store

T0 = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = ["items:price", "items:name", "items:vector"]


def table(**changes: Any) -> pa.Table:
    columns = {
        "item_id": pa.array([1, 2, 3], pa.int64()),
        "event_timestamp": pa.array([T0] * 3, pa.timestamp("us", tz="UTC")),
        "price": pa.array([1.5, 2.5, 3.5]),
        "name": pa.array(["a", "b", "c"]),
        "vector": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32())),
    }
    merged = {name: changes.get(name, column) for name, column in columns.items()}
    return pa.table({name: column for name, column in merged.items() if column is not None})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="items", path=str(tmp_path / "items"), timestamp_field="event_timestamp"
    )
    view = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[
            Field(name="price", dtype=Float32),
            Field(name="name", dtype=String),
            Field(name="vector", dtype=Array(Float32), vector_index=True, vector_length=2),
        ],
        source=source,
    )
    (tmp_path / "items").mkdir()
    pq.write_table(table(), tmp_path / "items" / "part-0.parquet")
    return make_store(tmp_path, [item, view])


def entities(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [2, 1], "event_timestamp": [T0, T0]} | columns)


@pytest.mark.parametrize(
    ("entity_df", "message"),
    [
        (pd.DataFrame({"item_id": [1]}), r"columns \['item_id'\].*'event_timestamp'"),
        (entities(event_timestamp=[1, 2]), r"'event_timestamp'.*int64.*timestamps"),
        (entities(event_timestamp=["soon", "later"]), "soon"),
        (entities(item_id=["2", "1"]), "join key 'item_id': got string, expected int64"),
        (entities(item_id=[2.5, 1.0]), "join key 'item_id': got double, expected int64"),
        (pd.DataFrame({"event_timestamp": [T0]}), "expected also 'item_id'"),
        (entities(price=[1.0, 2.0]), "'price' more than once"),
        (entities(odd=[1, "x"]), "a column that Arrow cannot hold"),
        (["not a table"], "got list, expected a pandas or polars DataFrame"),
    ],
)
def test_bad_entity_table(store: FeatureStore, entity_df: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        store.get_historical_features(entity_df, FEATURES)


def test_entity_path_that_is_not_there(store: FeatureStore) -> None:
    with pytest.raises(StoreUnavailableError, match=r"no Parquet file at orders"):
        store.get_historical_features("orders", FEATURES)


def truncated(folder: Path) -> None:
    path = folder / "part-0.parquet"
    path.write_bytes(path.read_bytes()[:-20])


def damaged(folder: Path) -> None:
    path = folder / "part-0.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)


def rewritten(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: pq.write_table(table(**changes), folder / "part-0.parquet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncated, r"part-0\.parquet.*expected a whole, readable Parquet file"),
        (damaged, r"part-0\.parquet.*expected a whole, readable Parquet file"),
        (rewritten(price=None), r"view 'items'.*expected also 'price', its feature 'price'"),
        (rewritten(event_timestamp=None), "expected also 'event_timestamp', its timestamp_field"),
        (rewritten(item_id=None), "expected also 'item_id', its join key"),
        (
            rewritten(item_id=pa.array(["1", "2", "3"])),
            r"got int64, expected string, as in the source of .*'items'",
        ),
        (rewritten(price=pa.array(["1", "2", "3"])), "'price': got string, expected numbers"),
        (rewritten(name=pa.array([[1], [2], [3]])), "'name': got list.*, expected text"),
        (
            rewritten(vector=pa.array([1.0, 2.0, 3.0])),
            "'vector': got double, expected lists of num",
        ),
        (rewritten(vector=pa.array([[1.0], [1.0, 2.0], [1.0, 2.0]])), r"widths \[1\], expected 2"),
        (rewritten(vector=pa.array([[None, 1.0]] * 3)), "a null within a vector"),
        (
            rewritten(event_timestamp=pa.array([1, 2, 3])),
            "timestamp_field 'event_timestamp': got int64, exp",
        ),
        (
            lambda folder: pq.write_table(
                table(price=pa.array(["x", "y", "z"])), folder / "part-1.parquet"
            ),
            r"part-1\.parquet.*price.*expected column types of the files before it",
        ),
    ],
)
@pytest.mark.parametrize("form", ["to_arrow", "to_training_set"])
def test_bad_source(
    store: FeatureStore, change: Callable[[Path], None], message: str, form: str, tmp_path: Path
) -> None:
    change(tmp_path / "items")
    with pytest.raises(SchemaError, match=message):
        getattr(store.get_historical_features(entities(), FEATURES), form)()


def test_source_that_is_gone(store: FeatureStore, tmp_path: Path) -> None:
    job = store.get_historical_features(entities(), FEATURES)
    (tmp_path / "items" / "part-0.parquet").unlink()
    with pytest.raises(StoreUnavailableError, match=r"part-0\.parquet.*removed or replaced"):
        job.to_training_set()
    with pytest.raises(StoreUnavailableError, match=r"'items'.*no Parquet file at .*items"):
        store.get_historical_features(entities(), FEATURES)


def test_nothing_is_left_of_a_failed_save(store: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    job = store.get_historical_features(entities(), FEATURES)
    (tmp_path / "items" / "part-0.parquet").unlink()
    with pytest.raises(StoreUnavailableError):
        job.persist(SavedDatasetFileStorage(str(tmp_path / "out" / "saved.parquet")))
    with pytest.raises(StoreUnavailableError):
        job.persist(SavedDatasetFileStorage(str(tmp_path / "out" / "folder")))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_vector_that_no_label_sees_does_no_harm(
    store: FeatureStore, tmp_path: Path
) -> None:
    rewritten(vector=pa.array([[5.0, 6.0], [1.0, 2.0], [9.0]], pa.list_(pa.float32())))(
        tmp_path / "items"
    )
    found = store.get_historical_features(entities(), FEATURES)
    assert found.to_arrow()["vector"].to_pylist() == [[1.0, 2.0], [5.0, 6.0]]
    assert found.to_training_set().vectors["vector"].values.tolist() == [[5.0, 6.0], [1.0, 2.0]]


def test_integer_keys_that_pandas_made_floats(store: FeatureStore) -> None:
    found = store.get_historical_features(entities(item_id=[2, None]), ["items:price"]).to_arrow()
    assert found["price"].to_pylist() == [2.5, None]


def test_times_as_text_and_in_another_column(store: FeatureStore) -> None:
    text = entities(event_timestamp=["2024-01-01T01:00:00+01:00", "2023-12-31T23:59:59Z"])
    found = store.get_historical_features(text, ["items:price"]).to_arrow()
    assert found["price"].to_pylist() == [2.5, None]
    other = entities().rename(columns={"event_timestamp": "seen"})
    found = store.get_historical_features(other, ["items:price"]).to_arrow()
    assert found.column_names == ["item_id", "seen", "price"]
    assert found["price"].to_pylist() == [2.5, 1.5]


def test_empty_entity_table_has_all_columns(store: FeatureStore) -> None:
    job = store.get_historical_features(entities().iloc[:0], FEATURES)
    assert job.to_arrow().num_rows == 0
    assert job.to_df().columns.tolist() == ["item_id", "event_timestamp", "price", "name", "vector"]
    assert job.to_training_set().vectors["vector"].values.shape == (0, 2)


def test_files_that_gained_a_column_and_hive_folders(tmp_path: Path) -> None:
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    root = tmp_path / "items"
    for year, part in ((2023, table(price=None, item_id=pa.array([1, 8, 9]))), (2024, table())):
        folder = root / f"year={year}" / "country=new%20zealand"
        folder.mkdir(parents=True)
        pq.write_table(part, folder / "part-0.parquet")
    source = FileSource(name="items", path=str(root), timestamp_field="event_timestamp")
    kinds = {"price": Float32, "year": Int64, "country": String}
    view = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=kind) for name, kind in kinds.items()],
        source=source,
    )
    store = make_store(tmp_path, [item, view])
    found = store.get_historical_features(
        entities(item_id=[2, 8]), ["items:price", "items:year", "items:country"]
    ).to_arrow()
    assert found.select(list(kinds)).to_pylist() == [
        {"price": 2.5, "year": 2024, "country": "new zealand"},
        {"price": None, "year": 2023, "country": "new zealand"},
    ]


def test_large_and_fixed_arrow_types_come_plain(store: FeatureStore, tmp_path: Path) -> None:
    rewritten(
        name=pa.array(["a", "b", "c"]).dictionary_encode(),
        vector=pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float64(), 2)),
        price=pa.array([1, 2, 3], pa.uint8()),
    )(tmp_path / "items")
    job = store.get_historical_features(entities(), FEATURES)
    found = job.to_arrow()
    assert found.schema.field("name").type == pa.string()
    assert found.schema.field("vector").type == pa.list_(pa.float64())
    assert found["vector"].to_pylist() == [[1.0, 2.0]] * 2
    assert job.to_training_set().vectors["vector"].values.dtype == np.float32


def test_results_beyond_arrow_offsets_come_in_chunks(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 2**31 elements a column needs more than one chunk; here above 5."""
    wanted = entities(item_id=[2, 9], event_timestamp=[T0, T0])
    wanted = pd.concat([wanted, entities(item_id=[3, 1])] * 3)
    whole = store.get_historical_features(wanted, FEATURES).to_arrow()
    monkeypatch.setattr(feature_columns, "_MAX_OFFSET", 5)
    parts = store.get_historical_features(wanted, FEATURES).to_arrow()
    assert parts["vector"].num_chunks == 6
    assert parts["name"].num_chunks > 1
    assert parts.to_pylist() == whole.to_pylist()
    assert [row["price"] for row in parts.to_pylist()] == [2.5, None, 3.5, 1.5] * 3


def test_vector_of_undeclared_length(tmp_path: Path) -> None:
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    source = FileSource(
        name="items", path=str(tmp_path / "items"), timestamp_field="event_timestamp"
    )
    view = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="vector", dtype=Array(Float32), vector_index=True)],
        source=source,
    )
    (tmp_path / "items").mkdir()
    path = tmp_path / "items" / "part-0.parquet"
    lists = pa.list_(pa.float32())
    vectors = pa.array([None, [1.0, 2.0], [3.0, 4.0]], lists)
    pq.write_table(table(vector=vectors), path, row_group_size=1)
    store = make_store(tmp_path, [item, view])
    three = pd.concat([entities(), entities(item_id=[3, 9])])
    found = store.get_historical_features(three, ["items:vector"]).to_training_set()
    assert found.vectors["vector"].values.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert found.vectors["vector"].index.tolist() == [0, -1, 1, -1]

    vectors = pa.array([[1.0, 2.0], None, [3.0]], lists)
    pq.write_table(table(vector=vectors), path, row_group_size=1)
    for ids, message in (
        ([1, 3], "widths 2 and 1, expected one"),
        ([2, 3, 1], r"widths \[1\]"),
    ):
        labels = pd.DataFrame({"item_id": ids, "event_timestamp": T0})
        with pytest.raises(SchemaError, match=f"'vector': got {message}"):
            store.get_historical_features(labels, ["items:vector"]).to_training_set()


def test_only_row_groups_that_matter_are_read(store: FeatureStore, tmp_path: Path) -> None:
    """A damaged row group of rows that no label can see is never touched."""
    times = pa.array([T0, T0, T0 + timedelta(days=9)], pa.timestamp("us", tz="UTC"))
    path = tmp_path / "items" / "part-0.parquet"
    pq.write_table(table(event_timestamp=times), path, row_group_size=1, compression="none")
    group = pq.read_metadata(path).row_group(2)
    content = bytearray(path.read_bytes())
    for i in range(group.num_columns):
        column = group.column(i)
        start = column.dictionary_page_offset or column.data_page_offset
        content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    found = store.get_historical_features(entities(), FEATURES).to_arrow()
    assert found["price"].to_pylist() == [2.5, 1.5]
