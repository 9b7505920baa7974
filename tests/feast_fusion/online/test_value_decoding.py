from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from feast import Field
from feast.protos.feast.types.Value_pb2 import FloatList
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import Array, Bool, Bytes, Float32, Float64, Int64, String, from_value_type
from feast.value_type import ValueType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.time_values import decode_timestamps
from feast_fusion.online.codec.value_decoding import (
    Ragged,
    decoder_of,
)
from feast_fusion.online.codec.value_encoding import encode_timestamps
from tests.feast_fusion.online.value_types import TYPES, VALUES, same

WIDTH = 4
VECTOR = Field(name="v", dtype=Array(Float32), vector_index=True, vector_length=WIDTH)


def float32(vector: Any) -> bytes:
    stored: bytes = ValueProto(float_list_val=FloatList(val=vector)).SerializeToString()
    return stored


def cells(column: Any) -> list[Any]:
    """A column's values as Feast gives them to users."""
    if isinstance(column, Ragged):
        pairs = zip(column.offsets[:-1], column.offsets[1:], strict=True)
        return [[cell(v) for v in column.values[start:end]] for start, end in pairs]
    return [cell(value) for value in column]


def cell(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        return datetime.fromtimestamp(int(value.astype(np.int64)), tz=UTC)
    return value.item() if isinstance(value, np.generic) else value


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_column_holds_what_feast_reads(name: str, data: st.DataObject) -> None:
    kind = ValueType[name]
    values = data.draw(st.lists(st.none() | VALUES[name], max_size=6))
    protos = [
        ValueProto() if value is None else python_values_to_proto_values([value], kind)[0]
        for value in values
    ]
    stored = [proto.SerializeToString() for proto in protos]
    column, valid = decoder_of("w", Field(name="f", dtype=from_value_type(kind))).column(stored)
    assert valid.tolist() == [bool(each) for each in stored]
    found = cells(column)
    assert len(found) == len(values)
    for value, proto, is_valid in zip(found, protos, valid, strict=True):
        if is_valid:
            assert same(value, feast_value_type_to_python_type(proto, kind)), (value, proto)


MICROS = st.integers(-(10**15), 4 * 10**15) | st.sampled_from([0, 1, 10**6, -1, 10**15])


@given(st.lists(st.none() | MICROS, max_size=8))
def test_timestamps_are_those_of_protobuf(micros: list[int | None]) -> None:
    stored = []
    for value in micros:
        stamp = Timestamp()
        stamp.FromMicroseconds(value or 0)
        stored.append(None if value is None else stamp.SerializeToString())
    found = decode_timestamps(stored)
    assert [None if np.isnat(at) else int(at.astype(np.int64)) for at in found] == micros


@pytest.mark.parametrize(
    ("field", "stored", "says"),
    [
        (VECTOR, float32([1.0, 2.0]), r"view w, feature v.*Array\(Float32\).*vector of 4 floats"),
        (Field(name="n", dtype=Int64), ValueProto(string_val="x"), "feature n.*String.*Int64"),
        (Field(name="n", dtype=Int64), ValueProto(bool_val=True), "feature n.*Bool.*Int64"),
        (Field(name="n", dtype=Int64), ValueProto(int32_val=7), "feature n.*Int32.*Int64"),
        (Field(name="n", dtype=Float64), ValueProto(int64_val=3), "feature n.*Int64.*Float64"),
        (Field(name="n", dtype=Bool), ValueProto(double_val=1.5), "feature n.*Float64.*Bool"),
        (Field(name="s", dtype=String), ValueProto(double_val=1.5), "feature s.*Float64.*String"),
        (Field(name="s", dtype=Bytes), ValueProto(string_val="x"), "feature s.*String.*Bytes"),
        (Field(name="l", dtype=Array(Int64)), ValueProto(string_val="x"), "feature l.*String"),
    ],
)
def test_a_value_that_cannot_be_of_the_type_is_named(field: Field, stored: Any, says: str) -> None:
    value = stored if isinstance(stored, bytes) else stored.SerializeToString()
    with pytest.raises(SchemaError, match=f"{says}.*materialize the view again"):
        decoder_of("w", field).column([value])
    with pytest.raises(SchemaError, match=f"{says}.*materialize the view again"):
        decoder_of("w", field).column([value] * 40)


NO_TIME = [b"\x08", b"\xff\xff", b"not a time", encode_timestamps(np.array([-(2**63)]))[0]]


@pytest.mark.parametrize("n_others", [0, 40])
@pytest.mark.parametrize("bad", NO_TIME)
def test_what_is_no_time_is_no_time(bad: bytes, n_others: int) -> None:
    others = encode_timestamps(np.arange(n_others) * 10**9 + 1)
    found = decode_timestamps([*others, bad, None])
    assert np.isnat(found).tolist() == [False] * n_others + [True, True]
