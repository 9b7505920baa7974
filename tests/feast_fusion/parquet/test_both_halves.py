"""One source, read online (materialize) and offline (history): the same values.

Each case lays out the same rows in another form. They go through `HistoryEngine` to an online
store and through `get_historical_features`, in a real Feast repository, and both give what the
case expects. A form that is not supported is refused by both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Array, Float32, Int64, PrimitiveFeastType, String

from feast_fusion.errors import FeastFusionError, SchemaError, StoreUnavailableError
from feast_fusion.times import TIMESTAMP

T = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES: dict[str, Any] = {"x": Int64, "name": String, "emb": Array(Float32)}
EXPECTED = {"a": (7, "A", [1.0, 2.0]), "b": (8, "B", [3.0, 4.0]), "c": (9, "C", None)}


def rows(first: int = 0, n: int = 3, **columns: Any) -> pa.Table:
    """Rows of the entities a, b, c; `columns` replaces a column, None leaves it out."""
    made: dict[str, Any] = {
        "item_id": list("abc"),
        "event_timestamp": pa.array([T, T + timedelta(hours=1), T], TIMESTAMP),
        "x": [7, 8, 9],
        "name": list("ABC"),
        "emb": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32())),
    } | columns
    table = pa.table({name: column for name, column in made.items() if column is not None})
    return table.slice(first, n)


def write(path: Path, table: pa.Table, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


@dataclass(frozen=True)
class Case:
    """How the rows are stored, and what is read of them.

    `lay` writes them below a folder and returns the path of the source.
    """

    lay: Callable[[Path], str]
    expected: dict[str, tuple[Any, ...]] = field(default_factory=lambda: EXPECTED)
    features: dict[str, Any] = field(default_factory=lambda: FEATURES)
    source: dict[str, Any] = field(default_factory=dict)


def one_file(**columns: Any) -> Callable[[Path], str]:
    def lay(folder: Path) -> str:
        write(folder / "items.parquet", rows(**columns))
        return str(folder / "items.parquet")

    return lay


def folder_of(*parts: tuple[str, pa.Table]) -> Callable[[Path], str]:
    def lay(folder: Path) -> str:
        for name, table in parts:
            write(folder / "items" / name, table)
        return str(folder / "items")

    return lay


def relative(folder: Path) -> str:
    one_file()(folder)
    return "items.parquet"


def uri(folder: Path) -> str:
    return f"file://{folder_of(('a.parquet', rows()))(folder)}"


def with_hidden_files(folder: Path) -> str:
    path = folder_of(("a.parquet", rows(0, 2)), ("nested/b.parquet", rows(2, 1)))(folder)
    for name in (".part.parquet", "_SUCCESS", "a.parquet.crc", "_temporary/0.parquet"):
        (Path(path) / name).parent.mkdir(exist_ok=True)
        (Path(path) / name).write_bytes(b"not Parquet")
    return path


def with_others(folder: Path) -> str:
    """Of four files two match `[a-b]?.parquet`, which have the rows between them."""
    others = rows(x=[-1, -2, -3])
    return folder_of(
        ("a1.parquet", rows(0, 1)),
        ("b1.parquet", rows(1, 2)),
        ("c1.parquet", others),
        ("a/a1.parquet", others),
    )(folder)


def hive_and_others(folder: Path) -> str:
    return folder_of(
        ("year=2023/a.parquet", rows(0, 1)),
        ("year=2024/b.parquet", rows(1, 2)),
        ("year=2024/c.pq", rows(x=[-1, -2, -3])),
    )(folder)


def texts(*times: str) -> pa.Array:
    return pa.array([*times])


ONE = {"x": Int64}
HIVE: dict[str, PrimitiveFeastType] = {"x": Int64, "year": Int64, "country": String}
SUBMICROSECOND = T + timedelta(microseconds=1)

CASES = {
    "file": Case(one_file()),
    "relative path": Case(relative),
    "folder": Case(folder_of(("a.parquet", rows(0, 1)), ("b.parquet", rows(1, 2)))),
    "folder of .pq and .parq": Case(folder_of(("a.pq", rows(0, 1)), ("b.parq", rows(1, 2)))),
    "file://": Case(uri),
    "hidden and nested files": Case(with_hidden_files),
    "glob": Case(
        lambda folder: with_others(folder) + "/[a-b]?.parquet",
    ),
    "glob over hive partitions": Case(
        lambda folder: hive_and_others(folder) + "/**/*.parquet",
        {"a": (7, 2023), "b": (8, 2024), "c": (9, 2024)},
        {"x": Int64, "year": Int64},
    ),
    "row groups": Case(
        lambda folder: (write(folder / "i.parquet", rows(), row_group_size=1), "i.parquet")[1]
    ),
    "hive partitions": Case(
        folder_of(
            ("year=2023/country=new%20zealand/a.parquet", rows(0, 2)),
            ("year=2024/country=__HIVE_DEFAULT_PARTITION__/b.parquet", rows(2, 1)),
        ),
        {"a": (7, 2023, "new zealand"), "b": (8, 2023, "new zealand"), "c": (9, 2024, None)},
        HIVE,
    ),
    "a column that came later": Case(
        folder_of(
            ("a.parquet", rows(0, 1, x=None, emb=None)),
            ("b.parquet", rows(1, 2)),
        ),
        {"a": (None, "A", None), "b": (8, "B", [3.0, 4.0]), "c": (9, "C", None)},
    ),
    "a column that went": Case(
        folder_of(
            ("a.parquet", rows(0, 1)),
            ("b.parquet", rows(1, 2, x=None, emb=None)),
        ),
        {"a": (7, "A", [1.0, 2.0]), "b": (None, "B", None), "c": (None, "C", None)},
    ),
    "integers that became wider": Case(
        folder_of(
            ("a.parquet", rows(0, 1, x=pa.array([7, 8, 9], pa.int16()))), ("b.parquet", rows(1, 2))
        )
    ),
    "field mapping": Case(
        one_file(x=None, x_raw=[7, 8, 9]), source={"field_mapping": {"x_raw": "x"}}
    ),
    "field mapping that hides a column": Case(
        one_file(x=[-1, -1, -1], x_raw=[7, 8, 9]), source={"field_mapping": {"x_raw": "x"}}
    ),
    "field mapping of key and time": Case(
        lambda folder: (
            write(
                folder / "i.parquet",
                rows().rename_columns(["uid", "at", "x", "name", "emb"]),
            ),
            "i.parquet",
        )[1],
        source={"field_mapping": {"uid": "item_id", "at": "event_timestamp"}},
    ),
    "large, coded and fixed-size types": Case(
        one_file(
            name=pa.array(list("ABC")).dictionary_encode(),
            item_id=pa.array(list("abc"), pa.large_string()),
            emb=pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32(), 2)),
        )
    ),
    "nanoseconds": Case(
        one_file(event_timestamp=pa.array([T, SUBMICROSECOND, T], pa.timestamp("ns", "UTC")))
    ),
    "seconds": Case(one_file(event_timestamp=pa.array([T, T, T], pa.timestamp("s", "UTC")))),
    "naive times": Case(one_file(event_timestamp=pa.array([T, T, T]).cast(pa.timestamp("us")))),
    "times of another zone": Case(
        one_file(event_timestamp=pa.array([T, T, T], pa.timestamp("ms", "Asia/Tokyo")))
    ),
    "text as times, with a zone": Case(
        one_file(event_timestamp=texts("2024-01-01T09:00:00+09:00", "2024-01-01T01:00:00Z",
                                       "2024-01-01T00:00:00.5+00:00"))
    ),
    "text as times, without a zone": Case(
        one_file(event_timestamp=texts("2024-01-01", "2024-01-01 01:00:00",
                                       "2024-01-01T00:00:00.000001"))
    ),
    "of two versions the newer, by text": Case(
        one_file(item_id=list("aab"), event_timestamp=texts("2024-01-01T09:00:00+09:00",
                                                           "2023-12-31T23:59:59Z", "2024-01-01")),
        {"a": (7,), "b": (9,)},
        ONE,
    ),
    "a time that is missing": Case(
        one_file(event_timestamp=pa.array([T, None, T], TIMESTAMP)),
        {"a": (7,), "b": (None,), "c": (9,)},
        ONE,
    ),
}  # fmt: skip


OURS = "feast_fusion.history_engine.HistoryEngine"


def open_repo(folder: Path, path: str, case: Case, engine: str = OURS) -> FeatureStore:
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    options = {"timestamp_field": "event_timestamp"} | case.source
    view = FeatureView(
        name="items",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name=name, dtype=dtype) for name, dtype in case.features.items()],
        source=FileSource(name="items", path=path, **options),
    )
    store = FeatureStore(
        config=RepoConfig(
            project="shop",
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db")),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "feast_fusion.point_in_time.PointInTimeOfflineStore"},
            batch_engine={"type": engine},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    store.apply([item, view])
    return store


def references(case: Case) -> list[str]:
    return [f"items:{name}" for name in case.features]


def read_offline(store: FeatureStore, case: Case) -> dict[str, tuple[Any, ...]]:
    keys = list(case.expected)
    labels = pd.DataFrame({"item_id": keys, "event_timestamp": T + timedelta(days=1)})
    found = store.get_historical_features(labels, references(case)).to_arrow()
    columns = [found[name].to_pylist() for name in case.features]
    return dict(zip(keys, zip(*columns, strict=True), strict=True))


def read_online(store: FeatureStore, case: Case) -> dict[str, tuple[Any, ...]]:
    keys = list(case.expected)
    store.materialize(T - timedelta(days=9), T + timedelta(days=1))
    found = store.get_online_features(references(case), [{"item_id": k} for k in keys]).to_dict()
    columns = [found[name] for name in case.features]
    return dict(zip(keys, zip(*columns, strict=True), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_both_halves_read_the_same(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    store = open_repo(tmp_path, case.lay(tmp_path), case)
    assert read_offline(store, case) == case.expected
    assert read_online(store, case) == case.expected


@pytest.mark.parametrize("name", CASES)
def test_the_engine_of_feast_reads_the_same(tmp_path: Path, name: str) -> None:
    """It pulls through `PointInTimeOfflineStore`."""
    case = CASES[name]
    store = open_repo(tmp_path, case.lay(tmp_path), case, "local")
    assert read_online(store, case) == case.expected


def delta_log(folder: Path) -> str:
    path = folder_of(("a.parquet", rows()))(folder)
    (Path(path) / "_delta_log").mkdir()
    return path


REFUSED: dict[str, tuple[Case, type[FeastFusionError], str]] = {
    "glob that nothing matches": (
        Case(lambda folder: f"{folder_of(('a.parquet', rows()))(folder)}/b*.parquet"),
        StoreUnavailableError,
        r"no Parquet file at .*b\*\.parquet",
    ),
    "Delta folder": (Case(delta_log), SchemaError, "got a Delta table"),
    "numbers as times": (
        Case(one_file(event_timestamp=[1_704_067_200] * 3)),
        SchemaError,
        "timestamp_field 'event_timestamp': got int64",
    ),
    "text that is no time": (
        Case(one_file(event_timestamp=texts("soon", "later", "never"))),
        SchemaError,
        r"'event_timestamp': got string .*soon",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("read", [read_offline, read_online])
def test_both_halves_refuse_the_same(
    tmp_path: Path,
    name: str,
    read: Callable[[FeatureStore, Case], object],
) -> None:
    case, error, message = REFUSED[name]
    path = case.lay(tmp_path)
    store = open_repo(tmp_path, path, case)
    with pytest.raises(error, match=message):
        read(store, case)
