"""The entity table of a retrieval: the rows to fill, in the order given."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import plain, plain_type, to_microseconds
from feast_fusion.parquet.opening import local_files

EVENT_TIMESTAMP = "event_timestamp"
_WHAT = "entity table"


@dataclass(frozen=True)
class EntityTable:
    """Rows with their label time.

    Parameters
    ----------
    table : all columns as given, the time column as microseconds UTC
    timestamp : name of the time column
    """

    table: pa.Table
    timestamp: str

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def span(self) -> tuple[datetime, datetime] | None:
        """Earliest and latest label time; None without any."""
        ends = pc.min_max(self.table.column(self.timestamp)).as_py()
        return None if ends["min"] is None else (ends["min"], ends["max"])

    def labels(self, keys: Sequence[tuple[str, pa.DataType]], source: str) -> pl.DataFrame:
        """Columns `k0, k1, ...`, the key columns in the types of `source`, and `t`, microseconds.

        Raises
        ------
        SchemaError
            A key column is missing, or its type cannot be compared with the source's.
        """
        columns = {f"k{i}": self._key(name, kind, source) for i, (name, kind) in enumerate(keys)}
        times = self.table.column(self.timestamp).cast(pa.int64())
        return pl.DataFrame(pl.from_arrow(pa.table({**columns, "t": times})))

    def _key(self, name: str, kind: pa.DataType, source: str) -> pa.ChunkedArray:
        self.require(name)
        column = self.table.column(name)
        found = plain_type(column.type)
        column = plain(column, found)
        if pa.types.is_floating(found) and not pa.types.is_floating(kind):
            # pandas turns integers into floats where one is missing
            column = pc.if_else(pc.is_nan(column), None, column)
        try:
            if not comparable(found, kind):
                raise pa.ArrowInvalid("the types cannot be compared")
            return column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise schema_error(
                f"{_WHAT}, join key {name!r}",
                got=column.type,
                expected=f"{kind}, as in {source}",
                remedy=f"Convert the column ({error}).",
            ) from error

    def require(self, name: str) -> None:
        """Raise `SchemaError` unless there is a column `name`."""
        if name not in self.table.column_names:
            raise schema_error(
                _WHAT,
                got=f"columns {self.table.column_names}",
                expected=f"also {name!r}",
                remedy="Add the column.",
            )


def comparable(found: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a key column of type `found` can be compared with one of type `kind`."""
    if found == kind or pa.types.is_null(found):
        return True
    if pa.types.is_integer(kind):
        return bool(pa.types.is_integer(found) or pa.types.is_floating(found))
    return bool(pa.types.is_floating(kind) and pa.types.is_floating(found))


Frame: TypeAlias = pd.DataFrame | pa.Table | pl.DataFrame | pl.LazyFrame


def read_entity_table(source: Frame | str | Path) -> EntityTable:
    """The entity table in `source`: pandas, polars, Arrow, or the path of a Parquet file or folder.

    The time column is `event_timestamp`, or the only column of times. Text in it is parsed; a
    time without zone is UTC; a time finer than a microsecond is rounded down, so that a label
    never sees what came after it.

    Raises
    ------
    SchemaError
        No time column, or several; a column that Arrow cannot hold; another kind of table.
    StoreUnavailableError
        There is no file at the path.
    """
    table = _arrow_table(source)
    timestamp = _timestamp_column(table)
    column = to_microseconds(table.column(timestamp), "down", f"{_WHAT}, column {timestamp!r}")
    place = table.column_names.index(timestamp)
    return EntityTable(table.set_column(place, timestamp, column), timestamp)


def _arrow_table(source: Frame | str | Path) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        return source.lazy().collect().to_arrow()
    if isinstance(source, pd.DataFrame):
        try:
            return pa.Table.from_pandas(source, preserve_index=False).replace_schema_metadata(None)
        except (pa.ArrowException, TypeError) as error:
            raise schema_error(
                _WHAT,
                got=f"a column that Arrow cannot hold: {error}",
                expected="one type per column",
                remedy="Convert the column.",
            ) from error
    if isinstance(source, str | Path):
        return local_files(source, f"{_WHAT} (a string is SQL that selects, or a path)").read()
    raise schema_error(
        _WHAT,
        got=type(source).__name__,
        expected="a pandas or polars DataFrame, an Arrow table, SQL or the path of a Parquet file",
        remedy="Convert it, or leave it out and give start_date and end_date.",
    )


def _timestamp_column(table: pa.Table) -> str:
    if EVENT_TIMESTAMP in table.column_names:
        return EVENT_TIMESTAMP
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    if len(times) == 1:
        return str(times[0])
    raise schema_error(
        _WHAT,
        got=f"columns {table.column_names}, of which {times or 'none'} hold times",
        expected=f"a column {EVENT_TIMESTAMP!r}, or exactly one column of times",
        remedy=f"Rename the label's time to {EVENT_TIMESTAMP!r}.",
    )
