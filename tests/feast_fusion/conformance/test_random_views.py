"""Random views: what is materialized and read online is what history has at that time.

`FUSION_RANDOM_VIEWS=500` tries that many; the suite tries 40.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from feast import Entity, FeatureView, Field, FileSource, ValueType, utils
from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    Map,
    String,
    UnixTimestamp,
)
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from cli.redis_process import RunningRedis
from tests.feast_fusion.conformance.engines import AFTER, ENGINES, Repo, T, same

N_VIEWS = int(os.environ.get("FUSION_RANDOM_VIEWS", "40"))


def mostly(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values, of which a sixth are null."""
    return st.sampled_from(range(6)).flatmap(lambda side: values if side else st.none())


def few(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Short lists of values."""
    return st.lists(values, max_size=3)


_TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
_WHOLE = st.integers(-(2**63) + 1, 2**63 - 1)
_TIMES = st.datetimes(datetime(1902, 1, 1), datetime(2100, 1, 1))
_UTC_TIMES = _TIMES.map(lambda at: at.replace(tzinfo=UTC))
_SMALL = st.integers(0, 100)
_VECTORS = st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3)
_US = pa.timestamp("us", "UTC")
_CODED = pa.dictionary(pa.int32(), pa.string())
_MAP = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True)
class Kind:
    """A declared type, the types a file may store it as, and its values."""

    dtype: FeastType
    stored: Sequence[pa.DataType]
    values: st.SearchStrategy[Any]
    width: int = 0


KINDS = (
    Kind(Int64, [pa.int64()], _WHOLE),
    Kind(Int64, [pa.int8(), pa.uint16(), pa.int32(), pa.int64(), pa.float64()], _SMALL),
    Kind(Int32, [pa.int32(), pa.int64()], st.integers(-(2**31), 2**31 - 1)),
    Kind(Float64, [pa.float64()], st.floats()),
    Kind(Float64, [pa.float32(), pa.int32(), pa.float64()], _SMALL),
    Kind(Float32, [pa.float64()], st.floats()),
    Kind(Float32, [pa.float32()], st.floats(width=32)),
    Kind(Bool, [pa.bool_()], st.booleans()),
    Kind(String, [pa.string(), pa.large_string(), _CODED], _TEXT),
    Kind(String, [pa.int64()], _WHOLE),
    Kind(Bytes, [pa.binary(), pa.large_binary()], st.binary(max_size=5)),
    Kind(UnixTimestamp, [_US, pa.timestamp("ns", "Asia/Tokyo")], _UTC_TIMES),
    Kind(UnixTimestamp, [pa.timestamp("ms"), pa.timestamp("s")], _TIMES),
    Kind(UnixTimestamp, [pa.date32()], _TIMES.map(lambda at: at.date())),
    Kind(UnixTimestamp, [pa.int64()], st.integers(0, 2**32)),
    Kind(Map, [_MAP], st.dictionaries(_TEXT, _TEXT, min_size=1, max_size=3)),
    Kind(Array(Int64), [pa.list_(pa.int64()), pa.large_list(pa.int32())], few(_SMALL)),
    Kind(Array(String), [pa.list_(pa.string())], few(_TEXT)),
    Kind(Array(Float32), [pa.list_(pa.float32()), pa.list_(pa.float64())], few(mostly(_SMALL))),
    Kind(Array(Bool), [pa.list_(pa.bool_())], few(st.booleans())),
    Kind(Array(Bytes), [pa.list_(pa.binary())], few(st.binary(max_size=3))),
    Kind(Array(UnixTimestamp), [pa.list_(_US)], few(_UTC_TIMES)),
    Kind(Array(Float32), [pa.list_(pa.float32(), 3), pa.list_(pa.float32())], _VECTORS, 3),
)
KEYS = {
    "user_id": (ValueType.INT64, [pa.int64(), pa.int32()], [1, 2, 3]),
    "item_id": (ValueType.STRING, [pa.string(), pa.large_string()], ["a", "é b", ""]),
    "shop_id": (ValueType.INT32, [pa.int32(), pa.int64()], [-1, 0, 7]),
}
TIME_TYPES = [pa.timestamp("us", "UTC"), pa.timestamp("ms"), pa.timestamp("ns", "Asia/Tokyo")]


@dataclass(frozen=True)
class Column:
    """A column of the source: its name there and in the files, and each file's type for it.

    A file of type None does not have the column; `decoy` is whether one hides under its name.
    """

    name: str
    stored: str
    types: tuple[pa.DataType | None, ...]
    decoy: bool


@dataclass(frozen=True)
class View:
    """A view and the rows of its files."""

    keys: Mapping[str, Column]
    features: Mapping[str, tuple[Kind, Column]]
    time: Column
    created: Column | None
    files: tuple[tuple[dict[str, Any], ...], ...]
    is_folder: bool


@st.composite
def columns(
    draw: st.DrawFn, name: str, types: Sequence[pa.DataType], n: int, may_lack: bool
) -> Column:
    one = [draw(st.sampled_from(list(types))) for _ in range(n)]
    shares = any(pa.types.is_dictionary(kind) or pa.types.is_temporal(kind) for kind in one)
    if shares or len({_family(kind) for kind in one}) > 1:
        one = one[:1] * n
    if may_lack and n > 1 and draw(st.booleans()):
        one[draw(st.integers(0, n - 1))] = None
    is_mapped = draw(st.booleans())
    return Column(
        name, f"{name}_raw" if is_mapped else name, tuple(one), is_mapped and draw(st.booleans())
    )


def _family(kind: pa.DataType) -> str:
    """Files of one folder may have other widths of a type, and no other type."""
    if pa.types.is_integer(kind):
        return "signed"
    return str(kind)


@st.composite
def views(draw: st.DrawFn) -> View:
    n_files = draw(st.integers(1, 3))
    keys = draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=2, unique=True))
    number = st.integers(0, len(KINDS) - 1)
    # Each kind once, since Feast allows one vector in a view.
    kinds = [KINDS[i] for i in draw(st.lists(number, min_size=2, max_size=4, unique=True))]
    features = {
        f"f{i}": (kind, draw(columns(f"f{i}", kind.stored, n_files, may_lack=True)))
        for i, kind in enumerate(kinds)
    }
    key_columns = {
        name: draw(columns(name, KEYS[name][1], n_files, may_lack=False)) for name in keys
    }
    time = draw(columns("at", TIME_TYPES, n_files, may_lack=False))
    has_created = draw(st.booleans())
    created = draw(columns("made", TIME_TYPES, n_files, may_lack=False)) if has_created else None
    moments = st.integers(0, 5).map(lambda hours: T + timedelta(hours=hours))
    row = st.fixed_dictionaries(
        {name: st.sampled_from([*KEYS[name][2], KEYS[name][2][0], None]) for name in keys}
        | {name: mostly(kind.values) for name, (kind, _) in features.items()}
        | {"at": mostly(moments), "made": mostly(moments)}
    )
    sizes = [draw(st.sampled_from([8, 6, 4, 1, 0])) for _ in range(n_files)]
    files = tuple(tuple(draw(st.lists(row, min_size=n, max_size=n))) for n in sizes)
    return View(key_columns, features, time, created, files, n_files > 1 or draw(st.booleans()))


def table_of(view: View, number: int) -> pa.Table:
    rows = view.files[number]
    made: dict[str, pa.Array] = {}
    created = [view.created] if view.created else []
    features = [column for _, column in view.features.values()]
    for column in [*view.keys.values(), *features, view.time, *created]:
        kind = column.types[number]
        if kind is None:
            continue
        made[column.stored] = array_of([row[column.name] for row in rows], kind)
        if column.decoy:
            made[column.name] = pa.nulls(len(rows), kind)
    return pa.table(made)


def array_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode()
    if pa.types.is_timestamp(kind):
        values = [v if v is None or v.tzinfo else v.replace(tzinfo=UTC) for v in values]
        return pa.array(values, pa.timestamp("us", "UTC")).cast(kind, safe=False)
    return pa.array(values, kind)


def open_view(view: View, folder: Path, server: RunningRedis) -> Repo:
    repo = Repo(folder, ENGINES["ours"], server, f"random_{folder.name}")
    for number in range(len(view.files)):
        name = f"rows/part-{number}.parquet" if view.is_folder else "rows.parquet"
        repo.write(name, table_of(view, number))
    created = [view.created] if view.created else []
    features = [column for _, column in view.features.values()]
    every = [*view.keys.values(), *features, view.time, *created]
    source = FileSource(
        name="rows",
        path=str(folder / ("rows" if view.is_folder else "rows.parquet")),
        timestamp_field="at",
        created_timestamp_column="made" if view.created else "",
        field_mapping={c.stored: c.name for c in every if c.stored != c.name},
    )
    entities = [Entity(name=name, join_keys=[name], value_type=KEYS[name][0]) for name in view.keys]
    fields = [
        Field(name=name, dtype=kind.dtype, vector_index=kind.width > 0, vector_length=kind.width)
        for name, (kind, _) in view.features.items()
    ]
    declared = FeatureView(
        name="v", entities=entities, ttl=timedelta(0), schema=fields, source=source
    )
    repo.store.apply([*entities, declared])
    return repo


def asked(view: View) -> dict[str, list[Any]]:
    """Every combination of the keys, of which some have no row."""
    combined: list[tuple[Any, ...]] = [()]
    for name in view.keys:
        combined = [(*row, value) for row in combined for value in KEYS[name][2]]
    if not view.keys:
        return {"any": [1]}
    return {name: [row[i] for row in combined] for i, name in enumerate(view.keys)}


def plain(value: Any) -> Any:
    """One form of a value for both halves: Arrow has a map as its pairs."""
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return sorted(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return [plain(each) for each in value] if isinstance(value, list) else value


def view_of(number: int) -> View:
    """One view per number. Hypothesis would vary one example a little, many times over."""
    drawn: list[View] = []

    @seed(number)
    @settings(max_examples=4, derandomize=False, phases=[Phase.generate])
    @given(views())
    def draw(view: View) -> None:
        drawn.append(view)

    draw()
    return drawn[-1]  # the first is the simplest


def test_online_is_history_at_that_time(conformance_redis: RunningRedis) -> None:
    n_known = 0
    for number in range(N_VIEWS):
        view = view_of(number)
        utils._feature_resolution_cache.clear()
        with tempfile.TemporaryDirectory() as folder:
            repo = open_view(view, Path(folder), conformance_redis)
            try:
                names = [f"v:{name}" for name in view.features]
                entities = asked(view)
                repo.materialize()
                online = repo.online(names, entities)
                history = repo.history(names, entities, AFTER)
            finally:
                repo.close()
        for name in view.features:
            left, right = ([plain(v) for v in half[name]] for half in (online, history))
            assert same(left, right), f"view {number}, {name}: online {left}, history {right}"
            n_known += sum(value is not None for value in left)
    assert n_known > 2 * N_VIEWS, "too few of the values are known"
