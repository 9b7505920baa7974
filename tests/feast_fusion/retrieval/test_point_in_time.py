"""The store against a nested loop, on random tables; and what it says about bad input."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from feast_fusion.retrieval import asof_join, feature_join
from feast_fusion.times import TIMESTAMP
from tests.feast_fusion.retrieval.offline_repo import make_store
from tests.oracles.point_in_time import Row, Rule, newest_row

BASE_NS = 1_700_000_000 * 10**9
TTLS = {"own": 0, "microseconds": 2, "seconds": 2_000_000}
USERS = ["ann", "bob", "用户"]
ZONES = [None, "UTC", "Asia/Tokyo", "America/New_York"]
FEATURES: dict[str, pa.DataType] = {
    "number": pa.int64(),
    "text": pa.string(),
    "flag": pa.bool_(),
    "moment": TIMESTAMP,
    "tags": pa.list_(pa.string()),
    "scores": pa.list_(pa.float64()),
    "vector": pa.list_(pa.float32()),
}


def profile_views(folder: Path) -> list[Any]:
    """A view per ttl on one source; one with a composite key, mapped names and no created time."""
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.INT64)
    profiles = FileSource(
        name="profiles",
        path=str(folder / "profiles"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    prices = FileSource(
        name="prices",
        path="prices.parquet",  # relative: starts at the repository
        timestamp_field="event_timestamp",
        field_mapping={"px": "price"},
    )
    types = [Int64, String, Bool, UnixTimestamp, Array(String), Array(Float64), Array(Float32)]
    schema = [
        Field(name=name, dtype=kind, vector_index=name == "vector", vector_length=3)
        for name, kind in zip(FEATURES, types, strict=True)
    ]
    by_ttl = [
        FeatureView(
            name="profile" if name == "own" else name,
            entities=[user],
            ttl=timedelta(microseconds=ttl),
            schema=schema,
            source=profiles,
        )
        for name, ttl in TTLS.items()
    ]
    offer = FeatureView(
        name="offer",
        entities=[user, item],
        ttl=timedelta(0),
        schema=[Field(name="price", dtype=Float32)],
        source=prices,
    )
    friend = by_ttl[0].with_name("friend").with_join_key_map({"user_id": "friend_id"})
    # Feast cannot compare a service that holds a view both under another name and under its own.
    views = [by_ttl[0].with_name("own"), *by_ttl[1:], offer, friend]
    service = FeatureService(name="everything", features=views)
    return [user, item, *by_ttl, offer, service]


@dataclass(frozen=True)
class Case:
    """Random tables and how they are stored. Times in nanoseconds."""

    labels: list[Row]
    profiles: list[Row]
    prices: list[Row]
    unit: str
    zone: str | None
    label_unit: str
    label_zone: str | None
    parts: int
    entity_form: str


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few keys and few instants, so that ties, late rows and edges are common."""
    unit, label_unit = draw(
        st.sampled_from([("us", "us"), ("ns", "ns"), ("s", "us"), ("ms", "ns")])
    )
    rows = _Rows(random.Random(draw(st.integers(0, 2**32))), unit, label_unit)
    labels = [rows.label() for _ in range(draw(st.integers(0, 12)))]
    return Case(
        labels=labels + labels[:1] * draw(st.integers(0, 2)),  # a slate, and plain repeats
        profiles=[rows.profile() for _ in range(draw(st.integers(0, 40)))],
        prices=[rows.price() for _ in range(draw(st.integers(0, 10)))],
        unit=unit,
        zone=draw(st.sampled_from(ZONES)),
        label_unit=label_unit,
        label_zone=draw(st.sampled_from(ZONES)),
        parts=draw(st.integers(1, 3)),
        entity_form=draw(st.sampled_from(["pandas", "arrow", "path"])),
    )


class _Rows:
    """Random rows; every value can be null where the store allows it."""

    def __init__(self, rng: random.Random, unit: str, label_unit: str) -> None:
        self._rng = rng
        self._tick = 1000 if unit in ("us", "ns") else 10**9
        self._row_fractions = [0, 300] if unit == "ns" else [0]
        self._label_fractions = [0, 300] if label_unit == "ns" else [0]

    def _maybe(self, value: Any, share: float = 0.2) -> Any:
        return None if self._rng.random() < share else value

    def _time(self, fractions: list[int]) -> int:
        return BASE_NS + self._rng.randint(0, 6) * self._tick + self._rng.choice(fractions)

    def _list(self, values: list[Any], length: int) -> list[Any]:
        return [self._rng.choice(values) for _ in range(length)]

    def profile(self) -> Row:
        return {
            "user_id": self._maybe(self._rng.choice(USERS), 0.05),
            "event_timestamp": self._maybe(self._time(self._row_fractions), 0.05),
            "created": self._maybe(self._time(self._row_fractions), 0.05),
            "number": self._maybe(self._rng.randint(-(2**60), 2**60)),
            "text": self._maybe(self._rng.choice(["", "a", "電影"])),
            "flag": self._maybe(self._rng.random() < 0.5),
            "moment": self._maybe(self._time(self._row_fractions)),
            "tags": self._maybe(self._list(["x", "y", None], self._rng.randint(0, 3))),
            "scores": self._maybe(self._list([0.1, 2.5], self._rng.randint(0, 3))),
            "vector": self._maybe(self._list([0.5, -1.25, 3.0], 3)),
        }

    def price(self) -> Row:
        return {
            "user_id": self._rng.choice(USERS),
            "item_id": self._rng.randint(1, 2),
            "event_timestamp": self._time(self._row_fractions),
            "px": self._maybe(self._rng.choice([9.5, 0.25])),
        }

    def label(self) -> Row:
        return {
            "user_id": self._maybe(self._rng.choice([*USERS, *USERS, "nobody"]), 0.1),
            "friend_id": self._maybe(self._rng.choice(USERS)),
            "item_id": self._rng.choice([1, 2, 7]),
            "event_timestamp": self._maybe(self._time(self._label_fractions), 0.05),
            "label": self._rng.randint(0, 1),
        }


def times(values: list[int | None], unit: str, zone: str | None) -> pa.Array:
    """Nanosecond counts in another unit. Arrow keeps instants, so a naive time here is UTC."""
    per_unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    counts = [None if value is None else value // per_unit for value in values]
    return (
        pa.array(counts, pa.int64())
        .cast(pa.timestamp(unit))
        .cast(pa.timestamp(unit, tz="UTC"))
        .cast(pa.timestamp(unit, tz=zone))
        if zone
        else pa.array(counts, pa.int64()).cast(pa.timestamp(unit))
    )


def table_of(
    rows: list[Row], types: dict[str, pa.DataType], unit: str, zone: str | None
) -> pa.Table:
    columns = {}
    for name, kind in types.items():
        values = [row[name] for row in rows]
        is_time = kind == TIMESTAMP
        columns[name] = times(values, unit, zone) if is_time else pa.array(values, kind)
    return pa.table(columns)


def write_sources(case: Case, folder: Path) -> None:
    """The profiles as a folder with all that may lie in one, the prices as one file."""
    types = {"user_id": pa.string(), "event_timestamp": TIMESTAMP, "created": TIMESTAMP, **FEATURES}
    table = table_of(case.profiles, types, case.unit, case.zone)
    source = folder / "profiles"
    for old in source.glob("**/*.parquet"):
        old.unlink()
    source.mkdir(exist_ok=True)
    (source / ".part-9.tmp").write_text("half a file")
    (source / "_SUCCESS.lock").write_text("")
    edges = [round(len(table) * i / case.parts) for i in range(case.parts + 1)]
    for number, (start, stop) in enumerate(itertools.pairwise(edges)):
        part = table.slice(start, stop - start)
        pq.write_table(part, source / f"part-{number}.parquet", row_group_size=2)
    pq.write_table(table.schema.empty_table(), source / "part-9.parquet")
    offers = {"user_id": pa.string(), "item_id": pa.int32(), "event_timestamp": TIMESTAMP}
    prices = table_of(case.prices, {**offers, "px": pa.float32()}, case.unit, case.zone)
    pq.write_table(prices, folder / "prices.parquet", row_group_size=2)


def entity_table(case: Case, folder: Path) -> Any:
    types = {"user_id": pa.string(), "friend_id": pa.string(), "item_id": pa.int64()}
    types |= {"event_timestamp": TIMESTAMP, "label": pa.int8()}
    table = table_of(case.labels, types, case.label_unit, case.label_zone)
    if case.entity_form == "pandas":
        return table.to_pandas()
    if case.entity_form == "arrow":
        return table
    pq.write_table(table, folder / "labels.parquet")
    return str(folder / "labels.parquet")


@dataclass(frozen=True)
class Stores:
    """One store per pair of switches, all on the same files."""

    folder: Path
    by_switch: dict[tuple[bool, bool], FeatureStore]

    def check(self, case: Case) -> None:
        """The store and the loop agree on every value, type, count and order."""
        write_sources(case, self.folder)
        for (created, strictly), store in self.by_switch.items():
            job = store.get_historical_features(
                entity_df=entity_table(case, self.folder),
                features=store.get_feature_service("everything", allow_cache=True),
                full_feature_names=True,
            )
            expected, schema = expected_table(case, created, strictly)
            found = job.to_arrow()
            for kind, wanted in zip(found.schema, schema, strict=True):
                no_text = pa.types.is_null(kind.type) and case.entity_form == "pandas"
                assert kind == wanted or no_text, (
                    kind
                )  # pandas has no type for a text column of None
            assert found.to_pylist() == expected
            indexed = job.to_training_set()
            assert set(indexed.vectors) == {f"{v}__vector" for v in [*TTLS, "friend"]}
            laid_out = indexed.to_arrow().select(schema.names)
            assert laid_out.cast(schema).to_pylist() == expected


def expected_table(case: Case, created: bool, strictly: bool) -> tuple[list[Row], pa.Schema]:
    views = {name: (case.profiles, {"user_id": "user_id"}, ttl) for name, ttl in TTLS.items()}
    views["offer"] = (case.prices, {"user_id": "user_id", "item_id": "item_id"}, 0)
    views["friend"] = (case.profiles, {"user_id": "friend_id"}, 0)
    rows = []
    for label in case.labels:
        row = dict(label, event_timestamp=_moment(label["event_timestamp"]))
        for view, (source, keys, ttl) in views.items():
            seen = newest_row(label, source, keys, Rule(ttl, created, strictly)) or {}
            names = {"price": "px"} if view == "offer" else {name: name for name in FEATURES}
            for name, column in names.items():
                value = seen.get(column)
                row[f"{view}__{name}"] = _whole_second(value) if name == "moment" else value
        rows.append(row)
    return rows, _schema(list(views))


def _schema(views: list[str]) -> pa.Schema:
    fields = [("user_id", pa.string()), ("friend_id", pa.string()), ("item_id", pa.int64())]
    fields += [("event_timestamp", TIMESTAMP), ("label", pa.int8())]
    for view in views:
        types = {"price": pa.float32()} if view == "offer" else FEATURES
        fields += [(f"{view}__{name}", kind) for name, kind in types.items()]
    return pa.schema(fields)


def _whole_second(nanoseconds: int | None) -> Any:
    """A time as Feast stores it, which is rounded down."""
    return _moment(nanoseconds if nanoseconds is None else nanoseconds // 10**9 * 10**9)


def _moment(nanoseconds: int | None) -> Any:
    counts = pa.array([None if nanoseconds is None else nanoseconds // 1000], pa.int64())
    return counts.cast(TIMESTAMP)[0].as_py()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("oracle")
    write_sources(Case([], [], [], "us", "UTC", "us", "UTC", 1, "arrow"), folder)
    objects = profile_views(folder)
    by_switch = {}
    for created, strictly in itertools.product([True, False], repeat=2):
        switches = {"filter_by_created_timestamp": created, "strictly_before": strictly}
        by_switch[created, strictly] = make_store(folder, objects, **switches)
        objects = []  # the registry is shared
    return Stores(folder, by_switch)


def check(stores: Stores, n_cases: int) -> None:
    @settings(
        max_examples=n_cases,
        report_multiple_bugs=False,
        phases=[Phase.generate],  # an example says enough, and shrinking one takes minutes
    )
    @given(cases())
    def agrees(case: Case) -> None:
        stores.check(case)

    agrees()


def test_agrees_with_the_nested_loop(stores: Stores) -> None:
    check(stores, 30)


def edge_of_ttl(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of exactly `t - ttl` counts as expired."""
    right = asof_join._search
    monkeypatch.setattr(
        asof_join, "_search", lambda *asked: right(*asked[:-1], max(asked[-1] - 1, 0))
    )


def tie_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows with one event time the earlier created, or the earlier in the file, wins."""

    def order(code: Any, ts: Any, created: Any, position: Any) -> Any:
        ties = (-position,) if created is None else (-position, -created)
        return np.lexsort((*ties, ts, code))

    monkeypatch.setattr(asof_join, "_order", order)


def created_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A label sees what was created after it."""
    right = asof_join.newest_rows
    monkeypatch.setattr(
        feature_join,
        "newest_rows",
        lambda labels, rows, keys, rule: right(
            labels, rows, keys, replace(rule, filter_by_created_timestamp=False)
        ),
    )


def dominated_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that arrive late are not removed, so the search meets times out of order."""
    monkeypatch.setattr(asof_join, "_can_be_newest", lambda rows: np.ones(len(rows.code), np.bool_))


@pytest.mark.parametrize("bug", [edge_of_ttl, tie_order, created_rule, dominated_rows])
def test_the_oracle_catches_a_planted_bug(
    bug: Callable[[pytest.MonkeyPatch], None], stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug(monkeypatch)
    with pytest.raises(AssertionError):
        check(stores, 30)
