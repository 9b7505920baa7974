"""Every Feast type from a Parquet file, online and in history: each engine's answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    ImageBytes,
    Int32,
    Int64,
    Json,
    Map,
    PdfBytes,
    Set,
    String,
    UnixTimestamp,
)

from tests.feast_fusion.conformance.engines import Case, Raises, Repo, rows_of, user_view

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MIDNIGHT = NOON.replace(hour=0)
MAP = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True)
class Both:
    """Materialized rows of users 1, 2, ..., read online and in history."""

    dtype: FeastType
    column: pa.Array

    def __call__(self, repo: Repo) -> object:
        path = repo.write("users.parquet", rows_of(x=self.column))
        repo.apply(user_view(path, {"x": self.dtype}))
        users = {"user_id": [*range(1, len(self.column) + 1)]}
        history = repo.history(["users:x"], users)["x"]
        repo.materialize()
        return repo.online(["users:x"], users)["x"], history


def both(
    dtype: FeastType, values: list[Any], stored: pa.DataType, right: Any = None, **recorded: Any
) -> Case:
    """A case whose right answer is `right`, or else `values` in both halves."""
    return Case(Both(dtype, pa.array(values, stored)), right or (values, values), recorded)


def stock(answer: Any) -> dict[str, Any]:
    """What duckdb and file answer alike."""
    return {"duckdb": answer, "file": answer}


NAIVE = NOON.replace(tzinfo=None)
LATER = NOON.replace(microsecond=5)
NO_MAP = stock(Raises("TypeError: Expected (dict|list) for MAP"))
NO_FLOAT32 = stock(Raises('TypeError: Value "1" is of type'))
LARGE = [2**53 + 1, None, -(2**63) + 1]

CASES: Mapping[str, Case] = {
    "bytes": both(Bytes, [b"ab", b"", None], pa.binary()),
    "large bytes": both(Bytes, [b"ab", b"\0\xff", None], pa.large_binary()),
    "image bytes": both(ImageBytes, [b"ab", None], pa.binary()),
    "pdf bytes": both(PdfBytes, [b"ab", None], pa.binary()),
    "lists of bytes": both(Array(Bytes), [[b"ab", b"c"], [], None], pa.list_(pa.binary())),
    "maps": both(
        Map,
        [{"a": "1"}, {"b": "2", "c": "3"}, None],
        MAP,
        # Arrow has a map as its pairs.
        (
            [{"a": "1"}, {"b": "2", "c": "3"}, None],
            [[("a", "1")], [("b", "2"), ("c", "3")], None],
        ),
        **NO_MAP,
    ),
    "lists of maps": both(
        Array(Map),
        [[{"a": "1"}], [], None],
        pa.list_(MAP),
        ([[{"a": "1"}], [], None], [[[("a", "1")]], [], None]),
        **NO_MAP,
    ),
    "JSON": both(Json, ['{"a": 1}', None], pa.string(), ([{"a": 1}, None], ['{"a": 1}', None])),
    "sets": both(
        Set(Int64), [[1, 2], None], pa.list_(pa.int64()), ([{1, 2}, None], [[1, 2], None])
    ),
    "booleans": both(Bool, [True, False, None], pa.bool_()),
    "integers above 2^53": both(
        Int64,
        LARGE,
        pa.int64(),
        duckdb=([2**53, None, -(2**63)], LARGE),
        file=([2**53, None, -(2**63)], [float(2**53), None, -float(2**63)]),
    ),
    "small integers": both(Int32, [1, None], pa.int8(), file=([1, None], [1.0, None])),
    "unsigned integers": both(Int64, [1, None], pa.uint32(), file=([1, None], [1.0, None])),
    "integers that pandas made floats": both(
        Int64, [1.0, float("nan")], pa.float64(), ([1, None], [1, None]),
        duckdb=([1, None], [1.0, float("nan")]), file=([1, None], [1.0, None]),
    ),
    "floats": both(Float32, [0.5, None], pa.float32()),
    "a number that is none": both(
        Float64, [0.5, float("nan")], pa.float64(), ([0.5, None], [0.5, None]),
        duckdb=([0.5, None], [0.5, float("nan")]),
    ),
    "wider floats": both(
        Float32, [0.1], pa.float64(), ([0.10000000149011612], [0.10000000149011612]),
        **stock(([0.10000000149011612], [0.1])),
    ),
    "integers as floats": both(
        Float64, [1, None], pa.int32(), ([1.0, None], [1.0, None]), duckdb=([1.0, None], [1, None])
    ),
    "texts": both(String, ["a", "", None], pa.string()),
    "integers as texts": both(
        String, [10115, None], pa.int64(), (["10115", None], ["10115", None]),
        duckdb=(["10115.0", None], [10115, None]), file=(["10115.0", None], [10115.0, None]),
    ),
    "booleans as texts": both(
        String, [True, None], pa.bool_(), (["True", None], ["True", None]),
        **stock((["True", None], [True, None])),
    ),
    "floats as texts": both(
        String, [1.5, None], pa.float64(), (["1.5", None], ["1.5", None]),
        **stock((["1.5", None], [1.5, None])),
    ),
    "texts as integers": both(
        Int64, ["7", None], pa.string(), Raises("SchemaError: .*'x': got string, expected numbers"),
        **stock(([7, None], ["7", None])),
    ),
    "fractions as integers": both(
        Int64, [1.5], pa.float64(), Raises("SchemaError: .*column 'x': got Float value 1.5"),
        **stock(([1], [1.5])),
    ),
    "times": both(UnixTimestamp, [NOON, None], pa.timestamp("us", "UTC")),
    # Feast has whole seconds.
    "times with a fraction": both(
        UnixTimestamp, [LATER, None], pa.timestamp("us", "UTC"), ([NOON, None], [NOON, None]),
        **stock(([NOON, None], [LATER, None])),
    ),
    "naive times": both(
        UnixTimestamp, [NOON, None], pa.timestamp("ms"), **stock(([NOON, None], [NAIVE, None]))
    ),
    "dates": both(
        UnixTimestamp, [NOON.date(), None], pa.date32(), ([MIDNIGHT, None], [MIDNIGHT, None]),
        **stock(([MIDNIGHT, None], [NOON.date(), None])),
    ),
    "seconds as times": both(
        UnixTimestamp, [1714564800, None], pa.int64(), ([NOON, None], [NOON, None]),
        duckdb=([None, None], [1714564800, None]), file=([None, None], [1714564800.0, None]),
    ),
    "lists of texts": both(Array(String), [["a", "b"], [], None], pa.list_(pa.string())),
    "a null in a list of texts": both(
        Array(String), [["a", None]], pa.list_(pa.string()), Raises("SchemaError: .*'x'.*null"),
        **stock(([["a", ""]], [["a", None]])),
    ),
    "a null in a list of integers": both(
        Array(Int64), [[1, None]], pa.list_(pa.int64()), Raises("SchemaError: .*'x'.*null"),
        **stock(Raises("TypeError: Value")),
    ),
    "a null in a list of floats": both(
        Array(Float64), [[1.5, None]], pa.list_(pa.float64()),
        ([[1.5, float("nan")]], [[1.5, float("nan")]]),
        **stock(([[1.5, float("nan")]], [[1.5, None]])),
    ),
    "a null in a list of booleans": both(
        Array(Bool), [[True, None]], pa.list_(pa.bool_()), Raises("SchemaError: .*'x'.*null"),
        **stock(([[True, False]], [[True, None]])),
    ),
    "lists of times": both(
        Array(UnixTimestamp), [[NOON], [], None], pa.list_(pa.timestamp("us", "UTC")),
        file=([[NOON], [], None], [[NAIVE], [], None]),
    ),
    "lists of integers as floats": both(
        Array(Float32), [[1], None], pa.list_(pa.int64()), ([[1.0], None], [[1.0], None]),
        **NO_FLOAT32,
    ),
}  # fmt: skip
