"""Which rows of a source count, and what they are known by."""

from datetime import datetime

import polars as pl
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.history.table_rows import Rows, Window
from feast_fusion.parquet.column_types import plain
from feast_fusion.parquet.parquet_source import POSITION
from feast_fusion.times import to_micros


def read_keys(rows: Rows, types: pa.Schema, timestamp: str, window: Window | None) -> pl.DataFrame:
    """The columns of `types`, cast to them, and `__position`, of the rows in `window`.

    Both ends of the window are in it; None is all rows. A null timestamp is in no window.

    Raises
    ------
    SchemaError
        A column is missing or cannot be cast to its type.
    """
    edges = None if window is None else (to_micros(window[0]), to_micros(window[1]))
    found = rows.keys(types.names, timestamp, edges)
    columns = [_as_key(found.column(field.name), field, rows.what) for field in types]
    kept = pa.table([*columns, found.column(POSITION)], names=[*types.names, POSITION])
    return pl.DataFrame(pl.from_arrow(kept))


def span(times: pl.Series) -> Window | None:
    """The window from the earliest to the latest of `times`; None without any."""
    first, last = times.min(), times.max()
    return (first, last) if isinstance(first, datetime) and isinstance(last, datetime) else None


def _as_key(column: pa.ChunkedArray, field: pa.Field, what: str) -> pa.ChunkedArray:
    try:
        return plain(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"{what}, column {field.name!r}",
            got=f"{column.type} ({error})",
            expected=f"{field.type}, as the view declares it",
            remedy="A column named like a join key holds the join key: rename it with the "
            "source's field_mapping, or correct the entity's value_type.",
        ) from error
