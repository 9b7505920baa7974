"""Encoded columns are, byte for byte, what Feast's own conversion writes for the same column."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import find, given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.value_encoding import encode_column, encode_timestamps

Bug = Callable[[pa.Array, ValueType], list[bytes]]

# Feast reads an integer beside a null as a float: above 2**53 it would change it.
INTEGERS = st.integers(-(2**53), 2**53)
INT32 = st.integers(-(2**31), 2**31 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False) | st.just(float("nan"))  # one NaN, the quiet one
FLOAT64 = st.floats(allow_nan=False) | st.just(float("nan"))
MICROS = st.integers(-(2**52), 2**52)
TEXT = st.text(max_size=150)
JSON = st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=2).map(json.dumps)
DECIMAL = st.decimals(allow_nan=False, allow_infinity=False).map(str)


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, max_size=4)


def nullable(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


FLOAT_LISTS = lists(nullable(FLOAT32))
# What numpy makes of it Feast itself refuses; the values here are what Feast takes.
PYTHON_ONLY: dict[str, tuple[pa.DataType, list[Any]]] = {
    "MAP": (pa.map_(pa.string(), pa.int64()), [{"a": 1}, {"b": 2}, None]),
    "MAP_LIST": (pa.list_(pa.map_(pa.string(), pa.string())), [[{"a": "b"}, {"c": "d"}], [], None]),
    "SCALAR_MAP": (pa.map_(pa.int64(), pa.string()), [{1: "a", -2: "b"}, None]),
    "ZONED_TIMESTAMP": (
        pa.timestamp("us", tz="Europe/Berlin"),
        [datetime(2024, 7, 1, tzinfo=UTC).astimezone(ZoneInfo("Europe/Berlin")), None],
    ),
}
# Value type -> the Arrow types it may come as -> values.
COLUMNS: dict[str, dict[pa.DataType, st.SearchStrategy[Any]]] = {
    # Feast takes a column of nothing but empty bytes for nulls: see below.
    "BYTES": dict.fromkeys([pa.binary(), pa.large_binary()], st.binary(min_size=1, max_size=150)),
    "STRING": dict.fromkeys(
        [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], TEXT
    )
    | {pa.float64(): FLOAT64},
    "INT32": {pa.int32(): INT32, pa.uint16(): st.integers(0, 2**16 - 1), pa.int64(): INT32},
    "INT64": {pa.int64(): INTEGERS, pa.int8(): st.integers(-128, 127), pa.uint64(): INT32.map(abs)},
    "DOUBLE": {pa.float64(): FLOAT64, pa.int64(): INTEGERS},
    "FLOAT": {pa.float32(): FLOAT32, pa.float64(): FLOAT64},
    "BOOL": {pa.bool_(): st.booleans()},
    "UNIX_TIMESTAMP": {
        pa.timestamp("us", tz="UTC"): MICROS,
        pa.timestamp("ns"): MICROS,
        pa.timestamp("s", tz="Europe/Berlin"): INT32,
    },
    "UUID": {pa.string(): st.uuids().map(str)},
    "TIME_UUID": {pa.string(): st.uuids(version=1).map(str)},
    "DECIMAL": {pa.string(): DECIMAL, pa.decimal128(9, 2): st.decimals(-9, 9, places=2)},
    "JSON": {pa.string(): JSON, pa.large_string(): JSON},
    "STRUCT": {pa.struct([("a", pa.int64())]): st.fixed_dictionaries({"a": INTEGERS})},
    "STRUCT_LIST": {pa.list_(pa.struct([("a", pa.string())])): lists(st.just({"a": "x"}))},
    "FLOAT_LIST": {
        pa.list_(pa.float32()): FLOAT_LISTS,
        pa.large_list(pa.float64()): lists(nullable(FLOAT64)),
        pa.list_(pa.float32(), 3): st.lists(FLOAT32, min_size=3, max_size=3),
        pa.list_(pa.float16()): lists(st.floats(width=16, allow_nan=False)),
    },
    "DOUBLE_LIST": {
        pa.list_(pa.float64()): lists(nullable(FLOAT64)),
        pa.list_(pa.float32()): FLOAT_LISTS,
    },
    "INT32_LIST": {pa.list_(pa.int32()): lists(INT32)},
    "INT64_LIST": {pa.list_(pa.int64()): lists(st.integers(-(2**63), 2**63 - 1))},
    "STRING_LIST": {pa.list_(pa.string()): lists(TEXT)},
    "BOOL_LIST": {pa.list_(pa.bool_()): lists(st.booleans())},
    "BYTES_LIST": {pa.list_(pa.binary()): lists(st.binary(max_size=9))},
    "UNIX_TIMESTAMP_LIST": {pa.list_(pa.timestamp("us", tz="UTC")): lists(nullable(MICROS))},
    "UUID_LIST": {pa.list_(pa.string()): lists(st.uuids().map(str))},
    "TIME_UUID_LIST": {pa.list_(pa.string()): lists(st.uuids(version=1).map(str))},
    "DECIMAL_LIST": {pa.list_(pa.string()): lists(DECIMAL)},
    "JSON_LIST": {pa.list_(pa.string()): lists(JSON)},
    "VALUE_LIST": {pa.list_(pa.list_(pa.int64())): lists(lists(INTEGERS))},
    "VALUE_SET": {pa.list_(pa.list_(pa.string())): lists(lists(TEXT))},
    "FLOAT_SET": {pa.list_(pa.float32()): lists(st.floats(width=32, allow_nan=False))},
    "DOUBLE_SET": {pa.list_(pa.float64()): lists(st.floats(allow_nan=False))},
    "INT32_SET": {pa.list_(pa.int32()): lists(INT32)},
    "INT64_SET": {pa.list_(pa.int64()): lists(INTEGERS)},
    "STRING_SET": {pa.list_(pa.string()): lists(TEXT)},
    "BYTES_SET": {pa.list_(pa.binary()): lists(st.binary(max_size=9))},
    "BOOL_SET": {pa.list_(pa.bool_()): lists(st.booleans())},
    "UNIX_TIMESTAMP_SET": {pa.list_(pa.timestamp("us")): lists(MICROS)},
    "UUID_SET": {pa.list_(pa.string()): lists(st.uuids().map(str))},
    "TIME_UUID_SET": {pa.list_(pa.string()): lists(st.uuids(version=1).map(str))},
    "DECIMAL_SET": {pa.list_(pa.string()): lists(DECIMAL)},
}


@st.composite
def columns(draw: st.DrawFn, kinds: st.SearchStrategy[str]) -> tuple[pa.Array, ValueType]:
    """A column of up to 6 rows with nulls, cut out of a longer one."""
    kind = draw(kinds)
    arrow, values = draw(st.sampled_from(list(COLUMNS[kind].items())))
    found = draw(st.lists(nullable(values), min_size=1, max_size=6))
    if all(value is None for value in found):
        found.append(draw(values))
    array = pa.array([*found[:1], *found, None], arrow)
    return array.slice(1, len(found)), ValueType[kind]


def stock(column: pa.Array, kind: ValueType) -> list[bytes]:
    """Feast's own way from a column of a record batch to the bytes in Redis."""
    protos = python_values_to_proto_values(column.to_numpy(zero_copy_only=False), kind)
    return [proto.SerializeToString() for proto in protos]


@pytest.mark.parametrize("kind", COLUMNS)
def test_bytes_are_those_of_stock_feast(kind: str) -> None:
    @settings(max_examples=40)
    @given(columns(st.just(kind)))
    def check(given: tuple[pa.Array, ValueType]) -> None:
        assert encode_column("v", *given) == stock(*given)

    check()


def pairs(value: Any) -> Any:
    """Maps as Arrow takes them."""
    if isinstance(value, list):
        return [pairs(each) for each in value]
    return list(value.items()) if isinstance(value, dict) else value


@pytest.mark.parametrize("kind", PYTHON_ONLY)
def test_types_that_feast_takes_from_python_only(kind: str) -> None:
    arrow, values = PYTHON_ONLY[kind]
    column = pa.array([pairs(value) for value in values], arrow)
    with pytest.raises(TypeError):
        stock(column, ValueType[kind])
    expected = python_values_to_proto_values(values, ValueType[kind])
    encoded = encode_column("v", column, ValueType[kind])
    assert [Value.FromString(each) for each in encoded] == expected


def test_every_type_is_covered() -> None:
    others = {"UNKNOWN", "NULL", "PDF_BYTES", "IMAGE_BYTES"}  # the last two are bytes by name
    assert {kind.name for kind in ValueType} == COLUMNS.keys() | PYTHON_ONLY.keys() | others
    for kind in (ValueType.PDF_BYTES, ValueType.IMAGE_BYTES):
        assert encode_column("v", pa.array([b"x"]), kind) == stock(pa.array([b"x"]), kind)


def null_is_zero(column: pa.Array, kind: ValueType) -> list[bytes]:
    return encode_column("v", column.fill_null(0), kind)


def negatives_in_five_bytes(column: pa.Array, kind: ValueType) -> list[bytes]:
    unsigned = pa.array([v if v is None else v % 2**32 for v in column.to_pylist()], pa.int64())
    return encode_column("v", unsigned, ValueType.INT64)


def empty_is_null(column: pa.Array, kind: ValueType) -> list[bytes]:
    return encode_column("v", pa.array([v or None for v in column.to_pylist()], column.type), kind)


def forgets_the_slice(column: pa.Array, kind: ValueType) -> list[bytes]:
    whole = pa.Array.from_buffers(column.type, len(column), column.buffers())
    return encode_column("v", whole, kind)


def nan_is_a_number(column: pa.Array, kind: ValueType) -> list[bytes]:
    floats = column.to_pylist()
    return [b"" if v is None else Value(double_val=v).SerializeToString() for v in floats]


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        (null_is_zero, "INT64"),
        (negatives_in_five_bytes, "INT32"),
        (empty_is_null, "FLOAT_LIST"),
        (forgets_the_slice, "DOUBLE"),
        (nan_is_a_number, "DOUBLE"),
    ],
)
def test_the_comparison_catches(bug: Bug, kind: str) -> None:
    plain = columns(st.just(kind)).filter(
        lambda given: (
            given[0].type in (pa.int64(), pa.float64(), pa.int32(), pa.list_(pa.float32()))
        )
    )
    assert find(plain, lambda given: bug(*given) != stock(*given))


def test_all_chunks_are_encoded() -> None:
    chunked = pa.chunked_array([pa.array(["a"]), pa.array([], pa.string()), pa.array(["b", None])])
    assert encode_column("v", chunked, ValueType.STRING) == stock(
        pa.array(["a", "b", None]), ValueType.STRING
    )


def test_nothing_and_nothing_but_nulls() -> None:
    for kind, types in COLUMNS.items():
        for arrow in types:
            assert encode_column("v", pa.array([], arrow), ValueType[kind]) == []
            column = pa.nulls(3, arrow)
            assert encode_column("v", column, ValueType[kind]) == stock(column, ValueType[kind])


def test_integers_keep_their_digits_beside_a_null() -> None:
    column = pa.array([2**62 + 1, None, -(2**63)])
    found = [Value.FromString(each) for each in encode_column("v", column, ValueType.INT64)]
    assert [each.int64_val for each in found] == [2**62 + 1, 0, -(2**63)]
    assert Value.FromString(stock(column, ValueType.INT64)[0]).int64_val == 2**62  # not ours


def test_text_of_integers_beside_a_null_is_their_digits() -> None:
    column = pa.array([10115, None, 2**62 + 1])
    found = [Value.FromString(each) for each in encode_column("v", column, ValueType.STRING)]
    assert [each.string_val for each in found] == ["10115", "", str(2**62 + 1)]
    assert found[1].WhichOneof("val") is None
    assert Value.FromString(stock(column, ValueType.STRING)[0]).string_val == "10115.0"  # not ours


@pytest.mark.parametrize(
    ("kind", "values", "by_stock"),
    [
        ("STRING_LIST", ["a", None], ["a", ""]),
        ("BOOL_LIST", [True, None], [True, False]),
        ("BYTES_LIST", [b"a", None], [b"a", b""]),
        ("BOOL_SET", [True, None], [True, False]),
        ("INT64_LIST", [1, None], None),
        ("UUID_LIST", ["123e4567-e89b-12d3-a456-426614174000", None], None),
    ],
)
def test_a_null_in_a_list_without_nulls_is_refused(kind: str, values: Any, by_stock: Any) -> None:
    column = pa.array([None, values[:1], values])
    with pytest.raises(SchemaError, match=r"'f', row 2: got a null inside the list .*None"):
        encode_column("feature 'f'", column, ValueType[kind])
    if by_stock is not None:
        [stored] = stock(column.slice(2), ValueType[kind])
        message = Value.FromString(stored)
        assert list(getattr(message, str(message.WhichOneof("val"))).val) == by_stock


@pytest.mark.parametrize(
    ("kind", "values"),
    [("DOUBLE_LIST", [1.0, None]), ("JSON_LIST", ["{}", None]), ("VALUE_LIST", [["a"], None])],
)
def test_a_null_in_a_list_that_has_nulls_is_kept(kind: str, values: Any) -> None:
    column = pa.array([values])
    [stored] = encode_column("v", column, ValueType[kind])
    found = feast_value_type_to_python_type(Value.FromString(stored), ValueType[kind])
    assert found[1] is None or found[1] != found[1]


def test_an_empty_bytes_value_does_not_depend_on_its_batch() -> None:
    alone, beside = pa.array([b""]), pa.array([b"", b"x"])
    assert encode_column("v", alone, ValueType.BYTES) == stock(beside, ValueType.BYTES)[:1]
    assert stock(alone, ValueType.BYTES) == [b""]  # a null, where stock Feast is alone with it


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([2**40]), ValueType.INT32),
        (pa.array(["{not json"]), ValueType.JSON),
        (pa.array(["a"]), ValueType.FLOAT),
        (pa.array([["a"]]), ValueType.FLOAT_LIST),
    ],
)
def test_what_feast_cannot_store_is_refused_by_name(column: pa.Array, kind: ValueType) -> None:
    with pytest.raises(SchemaError, match=rf"feature 'f'.*{kind.name}"):
        encode_column("feature 'f'", column, kind)


@given(st.lists(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999), max_size=20))
def test_timestamps_are_those_of_protobuf(micros: list[int]) -> None:
    expected = []
    for each in micros:
        stamp = Timestamp()
        stamp.FromMicroseconds(each)
        expected.append(stamp.SerializeToString())
    assert encode_timestamps(np.array(micros, np.int64)) == expected
