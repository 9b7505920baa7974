"""Which rows of a table count, and what they are known by."""

from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP

POSITION = "__position"  # the column of a row's place among the rows of its source
Positions = NDArray[np.int64]
Window = tuple[datetime, datetime]  # both ends are in it


def select_keys(
    table: pa.Table,
    types: pa.Schema,
    window: Window | None,
    timestamp: str,
    first: int,
    what: str,
) -> pl.DataFrame:
    """The columns of `types` and `__position` of the rows of `table` in `window` (None: all).

    `first` is the position of its first row; `what` names the source in messages. A null
    timestamp is in no window.

    Raises
    ------
    SchemaError
        A column cannot be cast to its type.
    """
    columns = [_as_key(table.column(field.name), field, what) for field in types]
    position = pa.array(np.arange(first, first + table.num_rows, dtype=np.int64))
    kept = pa.table([*columns, position], names=[*types.names, POSITION])
    if window is not None:
        start, end = (pa.scalar(edge, TIMESTAMP) for edge in window)
        times = table.column(timestamp)
        kept = kept.filter(pc.and_(pc.greater_equal(times, start), pc.less_equal(times, end)))
    return pl.DataFrame(pl.from_arrow(kept))


def _as_key(column: pa.ChunkedArray, field: pa.Field, what: str) -> pa.ChunkedArray:
    if pa.types.is_timestamp(field.type):
        return as_utc(column, what, field.name)
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"{what}, column {field.name!r}",
            got=f"{column.type} ({error})",
            expected=f"{field.type}, as the view declares it",
            remedy="A column named like a join key holds the join key: rename it with the "
            "source's field_mapping, or correct the entity's value_type.",
        ) from error


def as_utc(column: pa.ChunkedArray, what: str, name: str) -> pa.ChunkedArray:
    """`column` as `timestamp[us, UTC]`; naive values are UTC, other zones keep their instant."""
    try:
        return column.cast(TIMESTAMP, safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"{what}, column {name!r}",
            got=f"{column.type} ({error})",
            expected="timestamps",
            remedy="Store it as a timestamp, or name another timestamp_field.",
        ) from error
