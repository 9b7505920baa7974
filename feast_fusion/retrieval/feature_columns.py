"""Values of matched rows, read last: as Arrow columns, or each distinct value once."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import is_text
from feast_fusion.parquet.declared_types import as_declared
from feast_fusion.parquet.parquet_source import Piece
from feast_fusion.retrieval.feature_join import Feature, FeatureJoin, Matched
from feast_fusion.training_set import Indexed

_MAX_OFFSET = (1 << 31) - 1  # Arrow's plain lists and strings count with 32 bits
_MAX_ELEMENTS = 1 << 27  # the same for lists whose elements have a size of their own

Values = NDArray[np.floating]
Rows = NDArray[np.int64]


def arrow_columns(join: FeatureJoin, matched: Matched) -> dict[str, pa.ChunkedArray]:
    """Each feature of `join` for every label, by name, in the view's order.

    Vectors go from the file straight to their place in the result: beside it only one piece of
    the file is held.
    """
    scattered = {f: _Scattered(f, matched) for f in join.features if f.width}
    distinct = _read(join, matched, scattered)
    index = pa.array(matched.index, mask=matched.index < 0)
    return {
        f.name: scattered[f].finish()
        if f in scattered
        else _taken(distinct.column(f.column), index)
        for f in join.features
    }


def indexed_columns(
    join: FeatureJoin, matched: Matched
) -> tuple[dict[str, pa.ChunkedArray], dict[str, Indexed], dict[str, Indexed]]:
    """Features of `join` by name: scalars for every label, vectors, other lists."""
    stacked = {f: _Stacked(f, matched) for f in join.features if f.is_vector}
    distinct = _read(join, matched, stacked)
    index = pa.array(matched.index, mask=matched.index < 0)
    others = [f for f in join.features if not f.is_vector]
    return (
        {f.name: _taken(distinct.column(f.column), index) for f in others if not f.is_list},
        {f.name: column.finish() for f, column in stacked.items()},
        {
            f.name: indexed_list(distinct.column(f.column), matched.index)
            for f in others
            if f.is_list
        },
    )


def indexed_list(distinct: pa.ChunkedArray, index: NDArray[np.int32]) -> Indexed:
    """Lists by index, null lists made absent."""
    values = distinct.combine_chunks() if distinct.num_chunks != 1 else distinct.chunk(0)
    if not values.null_count:
        return Indexed(values, index)
    is_valid = values.is_valid().to_numpy(zero_copy_only=False)
    return Indexed(values.drop_null(), _without(index, is_valid))


def _read(
    join: FeatureJoin, matched: Matched, vectors: Mapping[Feature, "_Scattered | _Stacked"]
) -> pa.Table:
    """Fill `vectors` and return the other columns of the distinct rows, in one pass."""
    names = list(dict.fromkeys(f.column for f in join.features))
    others = list(dict.fromkeys(f.column for f in join.features if f not in vectors))
    parts = [join.source.no_rows(others)]
    for piece in join.source.pieces(names, matched.positions):
        for feature, column in vectors.items():
            column.place(piece.part, *_as_matrix(piece, feature, join))
        parts.append(piece.take(others))
    found = pa.concat_tables(parts).combine_chunks()
    what = f"feature view {join.view!r}, source {join.source.path}, column"
    by_column = {f.column: f for f in join.features}
    for place, name in enumerate(others):
        feature = by_column[name]
        column = as_declared(found.column(name), feature.stored, f"{what} {name!r}")
        found = found.set_column(place, name, column.cast(feature.type))
    return found


def _without(index: NDArray[np.int32], is_valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """`index` into what is left when only valid values are kept."""
    kept = np.append(np.where(is_valid, np.cumsum(is_valid) - 1, -1), -1).astype(np.int32)
    return kept[index]


def _as_matrix(piece: Piece, feature: Feature, join: FeatureJoin) -> tuple[Values, Rows]:
    """Vectors of a piece, `(n_stored, d)`, and `(n,)` which of them each row has, -1 for none."""
    column = piece.table.column(feature.column)
    lists = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    rows = piece.rows
    widths = np.diff(lists.offsets.to_numpy())
    flat = lists.flatten()
    width = feature.width or int(widths.max(initial=0))
    if lists.null_count or flat.null_count or (widths != width).any():
        # Only the rows asked for must be right: a repaired row may stand behind a wrong one.
        lists = lists.take(pa.array(rows))
        is_valid = lists.is_valid().to_numpy(zero_copy_only=False)
        widths = np.diff(lists.offsets.to_numpy())[is_valid]
        flat = lists.flatten()
        width = feature.width or int(widths.max(initial=0))
        _check_vectors(flat, widths, width, f"vector {feature.name!r}", join)
        rows = np.where(is_valid, np.cumsum(is_valid) - 1, -1)
    values = flat.to_numpy().astype(feature.stored.value_type.to_pandas_dtype(), copy=False)
    return values.reshape(len(widths), width), rows


def _check_vectors(
    flat: pa.Array, widths: NDArray[np.int32], width: int, what: str, join: FeatureJoin
) -> None:
    wrong = sorted(set(widths[widths != width].tolist()))
    if wrong or flat.null_count:
        raise schema_error(
            f"feature view {join.view!r}, source {join.source.path}, {what}",
            got=f"widths {wrong[:5]}" if wrong else "a null within a vector",
            expected=f"{width} numbers in every vector",
            remedy="Write the vectors again, or declare the feature without vector_index.",
        )


class _Scattered:
    """A vector column of the result, filled piece by piece as the file is read."""

    def __init__(self, feature: Feature, matched: Matched) -> None:
        self._feature = feature
        self._index = matched.index
        self._rows = np.argsort(matched.index)  # label rows by the distinct row they see
        self._starts = np.searchsorted(
            matched.index, np.arange(len(matched.positions) + 1), sorter=self._rows
        )
        self._is_present = matched.index >= 0
        self._slots = np.cumsum(self._is_present) - 1  # absent rows take no place
        dtype = feature.type.value_type.to_pandas_dtype()
        n_present = int(np.count_nonzero(self._is_present))
        self._values = _new_matrix(n_present, feature.width, dtype)

    def place(self, part: slice, vectors: Values, stored: Rows) -> None:
        rows = self._rows[self._starts[part.start] : self._starts[part.stop]]
        which = stored[self._index[rows] - part.start]
        if (stored < 0).any():
            self._is_present[rows[which < 0]] = False
            rows, which = rows[which >= 0], which[which >= 0]
        self._values[self._slots[rows]] = vectors[which]

    def finish(self) -> pa.ChunkedArray:
        if np.count_nonzero(self._is_present) < len(self._values):  # some vectors were null
            self._values = self._values[self._slots[self._is_present]]
        step = max(1, _MAX_OFFSET // self._feature.width)
        ends = np.concatenate([[0], np.cumsum(self._is_present)]) * self._feature.width
        starts = range(0, max(1, len(self._index)), step)
        chunks = [self._chunk(self._values.reshape(-1), ends, start, step) for start in starts]
        return pa.chunked_array(chunks, self._feature.type)

    def _chunk(self, flat: Values, ends: NDArray[np.int64], start: int, step: int) -> pa.ListArray:
        part = ends[start : start + step + 1]
        is_absent = ~self._is_present[start : start + step]
        return pa.ListArray.from_arrays(
            pa.array((part - part[0]).astype(np.int32)),
            pa.array(flat[part[0] : part[-1]]),
            type=self._feature.type,
            mask=pa.array(is_absent) if is_absent.any() else None,
        )


class _Stacked:
    """The distinct vectors of a feature, filled piece by piece as the file is read."""

    def __init__(self, feature: Feature, matched: Matched) -> None:
        n_distinct = len(matched.positions)
        self._feature = feature
        self._index = matched.index
        self._values: Values = _new_matrix(n_distinct, feature.width, np.float32)
        self._is_valid = np.ones(n_distinct, np.bool_)

    def place(self, part: slice, vectors: Values, stored: Rows) -> None:
        if len(vectors) and vectors.shape[1] != self._values.shape[1]:
            self._widen(vectors.shape[1])
        is_valid = stored >= 0
        if not is_valid.all():
            self._is_valid[part] = is_valid
            self._values[part][is_valid] = vectors[stored[is_valid]]
        elif vectors.dtype == np.float32:
            # Every index is valid; "clip" spares numpy's copy of the output in case one is not.
            np.take(vectors, stored, axis=0, out=self._values[part], mode="clip")
        else:
            self._values[part] = vectors[stored]

    def _widen(self, width: int) -> None:
        """Take the width of the first vectors, when none was declared."""
        if self._values.shape[1]:
            raise schema_error(
                f"vector {self._feature.name!r}",
                got=f"widths {self._values.shape[1]} and {width}",
                expected="one width",
                remedy="Declare it with Field(vector_length=...) and write the others again.",
            )
        self._values = _new_matrix(len(self._values), width, np.float32)

    def finish(self) -> Indexed:
        if self._is_valid.all():
            return Indexed(self._values, self._index)
        return Indexed(self._values[self._is_valid], _without(self._index, self._is_valid))


def _new_matrix(n: int, width: int, dtype: type[np.floating]) -> Values:
    """An uninitialised `(n, width)` matrix from Arrow's memory pool.

    The pool has warm pages at hand: filling one is about a third faster than filling what
    `np.empty` gets from the system, and many times faster the first time.
    """
    buffer = pa.allocate_buffer(n * width * np.dtype(dtype).itemsize)
    return np.frombuffer(buffer, dtype).reshape(n, width)


def _taken(distinct: pa.ChunkedArray, index: pa.Array) -> pa.ChunkedArray:
    """`distinct[index]`, in as many chunks as 32-bit offsets need."""
    step = _rows_per_chunk(distinct)
    starts = range(0, max(1, len(index)), step)
    parts = [distinct.take(index.slice(start, step)) for start in starts]
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], distinct.type)


def _rows_per_chunk(distinct: pa.ChunkedArray) -> int:
    found = distinct.type
    if pa.types.is_list(found):
        is_fixed = pa.types.is_primitive(found.value_type)
        longest = pc.max(pc.list_value_length(distinct)).as_py()
        return max(1, (_MAX_OFFSET if is_fixed else _MAX_ELEMENTS) // max(1, longest or 1))
    if is_text(found) or pa.types.is_binary(found):
        longest = pc.max(pc.binary_length(distinct)).as_py()
        return max(1, _MAX_OFFSET // max(1, longest or 1))
    return _MAX_OFFSET
