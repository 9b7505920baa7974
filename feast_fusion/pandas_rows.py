"""A training set as pandas has it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from feast_fusion.training_set import Indexed


def to_frame(table: pa.Table, lists: "Mapping[str, Indexed]") -> pd.DataFrame:
    """The columns, then the list features, whose rows share the arrays of distinct lists."""
    frame = pd.DataFrame({name: _series(table[name]) for name in table.column_names})
    for name, column in lists.items():
        cells = np.full(len(column.values) + 1, None, dtype=object)  # the last is the index -1
        for at, value in enumerate(column.values):
            of_arrow = not isinstance(value, np.ndarray)
            cells[at] = value.values.to_numpy(zero_copy_only=False) if of_arrow else value
        frame[name] = cells[column.index]
    return frame


def _series(column: pa.ChunkedArray) -> "pd.Series[int]":
    """Integers with nulls stay integers."""
    keep = pa.types.is_integer(column.type) and column.null_count
    found: pd.Series[int] = column.to_pandas(
        types_mapper=(lambda _: pd.Int64Dtype()) if keep else None
    )
    return found
