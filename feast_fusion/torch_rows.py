"""A training set as PyTorch reads it: rows by number, each a dict of tensors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from feast_fusion.times import TIMESTAMP

if TYPE_CHECKING:
    from feast_fusion.training_set import Indexed, TrainingSet


class TorchRows(Dataset[dict[str, Any]]):
    """A map-style data set, for a `DataLoader` with any number of workers.

    `rows[3]` is one row, `rows[[3, 1, 4]]` a batch of three, which is many times as fast as three
    rows: `DataLoader(rows, sampler=BatchSampler(...), batch_size=None)`.

    =====================  ============================================
    column or feature      in the dict, for a batch of B rows
    =====================  ============================================
    number, bool           float32 (B,), int64 if integers without null
    vector of d numbers    float32 (B, d), NaN where absent
    time                   int64 (B,), microseconds since the epoch, UTC
    string                 B strings, "" where null
    other lists            left out: their lengths differ
    =====================  ============================================

    A null number is NaN, a null time the smallest int64.
    """

    def __init__(self, training_set: "TrainingSet") -> None:
        self._n = len(training_set)
        self._numbers: dict[str, NDArray[np.generic]] = {}
        self._strings: dict[str, pa.Array] = {}
        self._vectors = dict(training_set.vectors)
        for name, column in zip(
            training_set.table.column_names, training_set.table.columns, strict=True
        ):
            numbers = _numbers(column)
            if numbers is None:
                self._strings[name] = column.cast(pa.string()).fill_null("").combine_chunks()
            else:
                self._numbers[name] = numbers

    def __len__(self) -> int:
        """How many rows there are."""
        return self._n

    def __getitem__(self, rows: int | Sequence[int]) -> dict[str, Any]:
        """One row, or the batch of several rows, from -n to n - 1.

        Raises
        ------
        IndexError
            There is no such row.
        """
        at = np.asarray(rows, dtype=np.int64)
        if ((at < -self._n) | (at >= self._n)).any():
            raise IndexError(f"row {rows}: got a set of {self._n} rows, expected a row of them")
        at = np.where(at < 0, at + self._n, at)
        found: dict[str, Any] = {
            name: torch.as_tensor(values[at]) for name, values in self._numbers.items()
        }
        for name, strings in self._strings.items():
            found[name] = strings.take(pa.array(np.atleast_1d(at))).to_pylist()
            if at.ndim == 0:
                found[name] = found[name][0]
        return found | {name: _read(vectors, at) for name, vectors in self._vectors.items()}


def _numbers(column: pa.ChunkedArray) -> NDArray[np.generic] | None:
    """(n,) as a tensor has them, None for anything but numbers and times."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(TIMESTAMP).cast(pa.int64())
        return np.asarray(micros.fill_null(np.iinfo(np.int64).min))
    if pa.types.is_integer(kind) and not column.null_count:
        return np.asarray(column.cast(pa.int64()))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float32(), safe=False))
    return None


def _read(column: "Indexed", rows: NDArray[np.int64]) -> torch.Tensor:
    values, at = np.asarray(column.values), column.index[rows]
    found = np.full((*rows.shape, values.shape[1]), np.nan, np.float32)
    found[at >= 0] = values[at[at >= 0]]
    return torch.from_numpy(found)
