"""Vectors stored as float32, float16 and int8 point where they pointed, in one column too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from feast import Field
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Array, Float32
from hypothesis import find, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from feast_fusion.errors import SchemaError
from feast_fusion.online.codec.value_decoding import decoder_of
from feast_fusion.online.codec.vector_decoding import INT8_MARK, vector_heads, vector_value
from feast_fusion.online.codec.vector_encoding import (
    MIN_COSINE,
    MIN_INT8_COSINE,
    encode_half_vectors,
    encode_int8_vectors,
)

Vectors = NDArray[np.float32]
Encode = Callable[[Vectors], list[bytes]]

FORMS = {"float16": (encode_half_vectors, MIN_COSINE), "int8": (encode_int8_vectors, 0.999)}
FLOAT_LIST_TAG, BYTES_TAG = 0x82, 0x0A


def full_vectors(vectors: Vectors) -> list[bytes]:
    """The stock form."""
    return [Value(float_list_val=FloatList(val=row)).SerializeToString() for row in vectors]


def decoded(stored: bytes) -> Vectors:
    return np.array(vector_value(stored).float_list_val.val, np.float32)


def is_int8(stored: bytes) -> bool:
    return Value.FromString(stored).bytes_val[: len(INT8_MARK)] == INT8_MARK


def cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / np.sqrt((one @ one) * (other @ other)))


def unit_vectors(n: int, width: int) -> Vectors:
    vectors = np.random.default_rng(0).standard_normal((n, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# Any float32, 0 and the largest and smallest among them; one number alone; all of about one size.
ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROW = (
    st.lists(ANY, min_size=9, max_size=9)
    | st.tuples(ANY, st.integers(0, 8)).map(lambda one: [one[0] * (i == one[1]) for i in range(9)])
    | st.lists(st.floats(-1, 1, width=32), min_size=9, max_size=9)
)
VECTORS = st.lists(ROW, min_size=1, max_size=5)


@pytest.mark.parametrize("form", FORMS)
@given(rows=VECTORS)
def test_stored_vectors_point_where_the_vectors_point(form: str, rows: list[list[float]]) -> None:
    encode, least = FORMS[form]
    vectors = np.array(rows, np.float32)
    for vector, stored in zip(vectors, encode(vectors), strict=True):
        if stored[0] != BYTES_TAG:
            assert decoded(stored).tobytes() == vector.tobytes()  # the stock form, exactly
        elif vector.any():
            assert cosine(decoded(stored), vector) >= least
        else:
            assert not decoded(stored).any()


@given(VECTORS)
def test_a_number_of_an_int8_vector_is_off_by_half_a_step_at_most(rows: list[list[float]]) -> None:
    vectors = np.array(rows, np.float32)
    for vector, stored in zip(vectors, encode_int8_vectors(vectors), strict=True):
        if is_int8(stored):
            step = np.abs(vector.astype(np.float64)).max() / 127
            off = np.abs(decoded(stored).astype(np.float64) - vector)
            assert off.max() <= step * 0.5001 + 1e-44  # scales below 1e-38 have few digits


@pytest.mark.parametrize("form", FORMS)
def test_the_check_of_the_cosine_catches_a_forced_form(form: str) -> None:
    def forced(rows: list[list[float]]) -> bool:
        vector = np.array(rows[0], np.float32)
        with np.errstate(all="ignore"):
            rounded = vector.astype(np.float16).astype(np.float32)
            if form == "int8":
                scale = np.abs(vector).max() / np.float32(127)
                rounded = np.rint(vector / scale).astype(np.int8) * scale
            return bool(vector.any() and not cosine(rounded, vector) >= FORMS[form][1])

    assert find(VECTORS, forced)


def test_only_rows_that_float16_cannot_carry_stay_whole() -> None:
    unit = unit_vectors(100, 384)
    unit[3] *= 1e6  # beyond 65504
    unit[5] *= 1e-9  # below the smallest float16
    sizes = [len(each) for each in encode_half_vectors(unit)]
    assert {sizes[3], sizes[5]} == {4 * 384 + 7}  # tag, size, tag and size of the numbers
    assert {size for row, size in enumerate(sizes) if row not in (3, 5)} == {2 * 384 + 3}


def test_a_row_that_int8_cannot_carry_is_stored_in_the_next_form_that_can() -> None:
    rows = unit_vectors(100, 384) * np.logspace(-30, 30, 100, dtype=np.float32)[:, None]
    rows[3] = 0.0039  # below half a step of the one large number, and many
    rows[3, 7] = 1.0
    rows[5] = rows[3] * 1e6
    stored = encode_int8_vectors(rows)
    sizes = [len(each) for each in stored]
    assert (sizes[3], sizes[5]) == (2 * 384 + 3, 4 * 384 + 7)
    assert {size for row, size in enumerate(sizes) if row not in (3, 5)} == {384 + 9}
    assert min(cosine(decoded(one), row) for one, row in zip(stored, rows, strict=True)) >= 0.999


@pytest.mark.parametrize("width", [1, 2, 4, 6, 9, 384])  # at 6 float16 and int8 are of one size
@given(data=st.data())
def test_vectors_of_all_forms_in_one_column(width: int, data: st.DataObject) -> None:
    field = Field(name="v", dtype=Array(Float32), vector_index=True, vector_length=width)
    forms: list[Encode] = [full_vectors, encode_half_vectors, encode_int8_vectors]
    chosen = data.draw(st.lists(st.none() | st.sampled_from(forms), max_size=8))
    numbers = st.floats(-1e3, 1e3, width=32)
    vectors = data.draw(arrays(np.float32, (len(chosen), width), elements=numbers))
    stored = [
        None if encode is None else encode(vectors[row : row + 1])[0]
        for row, encode in enumerate(chosen)
    ]
    column, valid = decoder_of("w", field).column(stored)
    assert isinstance(column, np.ndarray)
    assert column.shape == (len(chosen), width) and column.dtype == np.float32
    assert valid.tolist() == [encode is not None for encode in chosen]
    for one, row in zip(stored, column, strict=True):
        if one is None:
            assert np.isnan(row).all()
        else:
            np.testing.assert_array_equal(row, decoded(one))


@pytest.mark.parametrize("encode", [encode_half_vectors, encode_int8_vectors])
@pytest.mark.parametrize("n", [1, 40])
def test_a_vector_of_another_width_is_named(encode: Encode, n: int) -> None:
    # As many bytes as a float16 vector of 9 has: only what they hold tells that they are none.
    field = Field(name="v", dtype=Array(Float32), vector_index=True, vector_length=9)
    stored = encode(unit_vectors(n, 12))
    with pytest.raises(SchemaError, match=r"view w, feature v.*vector of 9 floats"):
        decoder_of("w", field).column(stored)


@pytest.mark.parametrize("width", [1, 3, 32, 33, 384, 4096, 70_000])
def test_heads_are_what_protobuf_writes(width: int) -> None:
    zeros = np.zeros((1, width), np.float32)
    full, half, int8 = vector_heads(width)
    assert full_vectors(zeros) == [full + bytes(4 * width)]
    for head, payload in ((half, bytes(2 * width)), (int8, INT8_MARK + bytes(4 + width))):
        stored = Value(bytes_val=payload).SerializeToString()
        assert stored.startswith(head) and stored.endswith(payload)
    assert encode_int8_vectors(zeros) == [int8 + bytes(4 + width)]
    assert MIN_INT8_COSINE == 0.999
