"""Arrow columns as serialized Feast values, byte for byte as stock Feast writes them.

The types of most features are encoded from Arrow's buffers, without a Python object per number;
every other type goes through Feast's own conversion, value by value. Three things are deliberately
not stock's: an integer keeps its digits beside nulls (10115, not 10115.0, and above 2**53), an
empty bytes value is a value whatever else its batch holds, and a null inside a list of a type that
has no null (of strings, it would be "", of truth values False) is refused.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.online.codec.list_nulls import check_nulls_inside
from feast_fusion.online.codec.varints import varint

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_PACKED = b"\x0a"  # field 1 of every list message, length-delimited
_LAST_OF_EACH = np.array([1 << (7 * place) for place in range(1, 10)], dtype=np.uint64)
_PLACES = np.arange(0, 70, 7, dtype=np.uint64)


def encode_column(where: str, column: pa.Array | pa.ChunkedArray, kind: ValueType) -> list[bytes]:
    """The `Value` of every row, serialized; b"" is null.

    As in stock Feast a NaN scalar is null, a null time is the smallest 64-bit number, an empty
    list is not null, and a null inside a list of floats is NaN.

    Parameters
    ----------
    where : names the feature in an error
    column : n rows of any Arrow type that Feast can convert to `kind`

    Raises
    ------
    SchemaError
        Feast cannot convert the column to `kind`, or a list has a null that `kind` cannot have.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    check_nulls_inside(where, column, kind)
    encoding = _ENCODINGS.get(kind)
    if encoding is not None and encoding.fits(column):
        return encoding.encode(encoding.tag, column)
    return _as_feast(where, column, kind)


def encode_timestamps(micros: NDArray[np.int64]) -> list[bytes]:
    """Serialized protobuf Timestamps of (n,) microseconds since 1970; negative is before."""
    seconds, rest = np.divmod(micros, 1_000_000)
    second_digits, second_used = _digits(seconds)
    nano_digits, nano_used = _digits(rest * 1000)
    n = len(micros)
    # Protobuf leaves a zero out, tag and all.
    has_seconds, has_nanos = (seconds != 0)[:, None], (rest != 0)[:, None]
    parts = [np.full((n, 1), 0x08, np.uint8), second_digits, np.full((n, 1), 0x10, np.uint8)]
    used = [has_seconds, second_used & has_seconds, has_nanos, nano_used & has_nanos]
    return _ragged(np.hstack([*parts, nano_digits]), np.hstack(used))


def row_bytes(matrix: NDArray[Any]) -> list[memoryview]:
    """The bytes of each row."""
    view, each = memoryview(matrix.tobytes()), matrix.shape[1] * matrix.itemsize
    return [view[start : start + each] for start in range(0, len(view), each)]


def spread(known: Iterable[bytes], valid: NDArray[np.bool_]) -> list[bytes]:
    """The known values at the rows that are valid, b"" at the others."""
    values = iter(known)
    return [next(values) if is_valid else b"" for is_valid in valid.tolist()]


def _as_feast(where: str, column: pa.Array, kind: ValueType) -> list[bytes]:
    """Feast's own conversion, of what Feast itself gives it: numpy.

    Feast refuses the pairs and times that numpy makes of maps and zoned times, and numpy makes
    floats of integers beside nulls, so those are given as dicts, datetimes and integers.
    """
    is_integers = pa.types.is_integer(column.type) and column.null_count
    try:
        if kind in _AS_PYTHON or is_integers:
            values = column.to_pylist(maps_as_pydicts="strict")
        else:
            values = column.to_numpy(zero_copy_only=False)
        return [value.SerializeToString() for value in python_values_to_proto_values(values, kind)]
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        raise schema_error(
            where,
            got=f"a column of type {column.type} ({error})",
            expected=f"values that Feast can store as {kind.name}",
            remedy="Correct the data, or the type that the feature is declared with.",
        ) from error


def _fixed(dtype: str, tag: bytes, column: pa.Array) -> list[bytes]:
    numbers = column.to_numpy(zero_copy_only=False)  # null is NaN
    valid = ~np.isnan(numbers)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, as in protobuf
        known = numbers[valid].astype(dtype)
    payload = known.view(np.uint8).reshape(len(known), known.itemsize)
    head = np.full((len(known), 1), tag[0], np.uint8)
    encoded = [bytes(row) for row in row_bytes(np.hstack([head, payload]))]
    return encoded if valid.all() else spread(encoded, valid)


def _integers(tag: bytes, column: pa.Array) -> list[bytes]:
    known = pc.cast(column.drop_null(), pa.int64()).to_numpy(zero_copy_only=False)
    return _spread_known(_tagged(tag, known), column)


def _times(tag: bytes, column: pa.Array) -> list[bytes]:
    times = column.to_numpy(zero_copy_only=False).astype("datetime64[s]")  # floors
    return _tagged(tag, times.astype(np.int64))  # null is NaT is the smallest number


def _texts(tag: bytes, column: pa.Array) -> list[bytes]:
    return [
        b"" if value is None else b"".join((tag, varint(len(value)), value))
        for value in column.cast(pa.large_binary()).to_pylist()
    ]


def _float_lists(dtype: str, tag: bytes, column: pa.Array) -> list[bytes]:
    lists = column.drop_null()
    with np.errstate(over="ignore"):
        numbers = lists.flatten().to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    ends = np.cumsum(_lengths(lists)) * numbers.itemsize
    payload = memoryview(numbers.tobytes())
    return _spread_known(_messages(tag, payload, ends), column)


def _integer_lists(tag: bytes, column: pa.Array) -> list[bytes]:
    lists = column.drop_null()
    numbers = pc.cast(lists.flatten(), pa.int64()).to_numpy()
    digits, used = _digits(numbers)
    after = np.concatenate([[0], np.cumsum(used.sum(axis=1))])  # bytes before each number
    ends = after[np.cumsum(_lengths(lists))]
    payload = memoryview(digits[used].tobytes())
    return _spread_known(_messages(tag, payload, ends), column)


def _text_lists(tag: bytes, column: pa.Array) -> list[bytes]:
    lists = column.drop_null()
    texts = lists.flatten().cast(pa.large_binary()).to_pylist()
    items = [b"".join((_PACKED, varint(len(text)), text)) for text in texts]
    ends = np.cumsum(_lengths(lists)).tolist()
    inner = [b"".join(items[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    encoded = [b"".join((tag, varint(len(each)), each)) for each in inner]
    return _spread_known(encoded, column)


def _messages(tag: bytes, payload: memoryview, ends: NDArray[np.int64]) -> list[bytes]:
    """A list message of each stretch of the packed payload; an empty one has no packed field."""
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    heads = {0: tag + b"\x00"}
    for size in np.unique(ends - starts).tolist():
        if size:
            packed = _PACKED + varint(size)
            heads[size] = tag + varint(len(packed) + size) + packed
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return [heads[end - start] + payload[start:end] for start, end in spans]


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    return pc.list_value_length(lists).to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _spread_known(known: list[bytes], column: pa.Array) -> list[bytes]:
    if column.null_count == 0:
        return known
    return spread(known, column.is_valid().to_numpy(zero_copy_only=False))


def _digits(numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(n, 10) base-128 digits of 64-bit numbers, and which of them protobuf writes."""
    unsigned = numbers.astype(np.int64, copy=False).view(np.uint64)[:, None]
    lengths = 1 + (unsigned >= _LAST_OF_EACH).sum(axis=1, keepdims=True)
    place = np.arange(len(_PLACES))
    digits = ((unsigned >> _PLACES) & np.uint64(0x7F)).astype(np.uint8)
    digits[place < lengths - 1] |= 0x80
    return digits, place < lengths


def _tagged(tag: bytes, numbers: NDArray[np.int64]) -> list[bytes]:
    digits, used = _digits(numbers)
    first = np.full((len(numbers), 1), tag[0], np.uint8)
    return _ragged(np.hstack([first, digits]), np.hstack([first > 0, used]))


def _ragged(rows: NDArray[np.uint8], used: NDArray[np.bool_]) -> list[bytes]:
    """The used bytes of each row."""
    joined = rows[used].tobytes()
    ends = np.cumsum(used.sum(axis=1)).tolist()
    return [joined[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass(frozen=True)
class _Encoding:
    """An encoder of a value type, and the Arrow types that it encodes as Feast does.

    Attributes
    ----------
    encode : the tag and a column to values
    ids : of the Arrow types of a column, or of its lists
    """

    encode: Callable[[bytes, pa.Array], list[bytes]]
    tag: bytes
    ids: frozenset[int]
    lists: bool = False
    nulls_inside: bool = False

    def fits(self, column: pa.Array) -> bool:
        if not self.lists:
            return column.type.id in self.ids
        if column.type.id not in _LISTS or column.type.value_type.id not in self.ids:
            return False
        return self.nulls_inside or column.drop_null().flatten().null_count == 0


def _ids(*types: pa.DataType) -> frozenset[int]:
    return frozenset(each.id for each in types)


def _tag(field: str, wire: int = _LENGTH_DELIMITED) -> bytes:
    return varint(ValueProto.DESCRIPTOR.fields_by_name[field].number << 3 | wire)


_LISTS = _ids(pa.list_(pa.null()), pa.large_list(pa.null()), pa.list_(pa.null(), 1))
_FLOATS = _ids(pa.float32(), pa.float64())
_INTS_32 = _ids(pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())
_INTS_64 = _INTS_32 | _ids(pa.uint32(), pa.int64())
_TEXTS = _ids(pa.string(), pa.large_string())
_BINARIES = _ids(pa.binary(), pa.large_binary())
_TIMES = _ids(pa.timestamp("us"))

_AS_PYTHON = {
    ValueType.MAP,
    ValueType.MAP_LIST,
    ValueType.SCALAR_MAP,
    ValueType.ZONED_TIMESTAMP,
}
_ENCODINGS = {
    ValueType.DOUBLE: _Encoding(partial(_fixed, "<f8"), _tag("double_val", _FIXED64), _FLOATS),
    ValueType.FLOAT: _Encoding(partial(_fixed, "<f4"), _tag("float_val", _FIXED32), _FLOATS),
    ValueType.INT64: _Encoding(_integers, _tag("int64_val", _VARINT), _INTS_64),
    ValueType.INT32: _Encoding(_integers, _tag("int32_val", _VARINT), _INTS_32),
    ValueType.BOOL: _Encoding(_integers, _tag("bool_val", _VARINT), _ids(pa.bool_())),
    ValueType.UNIX_TIMESTAMP: _Encoding(_times, _tag("unix_timestamp_val", _VARINT), _TIMES),
    ValueType.STRING: _Encoding(_texts, _tag("string_val"), _TEXTS),
    ValueType.UUID: _Encoding(_texts, _tag("uuid_val"), _TEXTS),
    ValueType.TIME_UUID: _Encoding(_texts, _tag("time_uuid_val"), _TEXTS),
    ValueType.DECIMAL: _Encoding(_texts, _tag("decimal_val"), _TEXTS),
    ValueType.BYTES: _Encoding(_texts, _tag("bytes_val"), _BINARIES),
    ValueType.PDF_BYTES: _Encoding(_texts, _tag("bytes_val"), _BINARIES),
    ValueType.IMAGE_BYTES: _Encoding(_texts, _tag("bytes_val"), _BINARIES),
    ValueType.FLOAT_LIST: _Encoding(
        partial(_float_lists, "<f4"), _tag("float_list_val"), _FLOATS, lists=True, nulls_inside=True
    ),
    ValueType.DOUBLE_LIST: _Encoding(
        partial(_float_lists, "<f8"),
        _tag("double_list_val"),
        _FLOATS,
        lists=True,
        nulls_inside=True,
    ),
    ValueType.INT64_LIST: _Encoding(_integer_lists, _tag("int64_list_val"), _INTS_64, lists=True),
    ValueType.INT32_LIST: _Encoding(_integer_lists, _tag("int32_list_val"), _INTS_32, lists=True),
    ValueType.STRING_LIST: _Encoding(_text_lists, _tag("string_list_val"), _TEXTS, lists=True),
}
