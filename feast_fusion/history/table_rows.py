"""Rows of a source that is not Parquet: pulled through the offline store, as one table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import to_microseconds
from feast_fusion.parquet.parquet_source import POSITION, ParquetSource, Positions, within


@dataclass(frozen=True)
class TableRows:
    """Rows held in memory whole, read as a `ParquetSource` is."""

    what: str
    table: pa.Table

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns, as the source names them."""
        return tuple(self.table.column_names)

    def keys(
        self, columns: Sequence[str], timestamp: str, window: tuple[int, int] | None
    ) -> pa.Table:
        """`columns`, `timestamp` and `__position` of the rows in `window`, microseconds."""
        keys = self.table.select(list(dict.fromkeys([*columns, timestamp])))
        keys = keys.append_column(POSITION, pa.array(np.arange(len(keys), dtype=np.int64)))
        return within(keys, timestamp, window)

    def gather(
        self, columns: Sequence[str], positions: Positions, batch_rows: int
    ) -> Iterator[pa.Table]:
        """The rows at `positions` (rising) in tables of at most `batch_rows`."""
        for first in range(0, len(positions), batch_rows):
            rows = pa.array(positions[first : first + batch_rows])
            yield self.table.select(list(columns)).take(rows)


Rows = ParquetSource | TableRows
Window = tuple[datetime, datetime]  # both ends are in it


def pull_rows(
    view: Any, repo_config: Any, offline_store: Any, window: Window, what: str
) -> TableRows:
    """The rows of `window` of the source of `view`, with every column the source has.

    Stock stores select exactly the columns they are given, under the names of the storage, and
    give them back under these names. With `field_mapping={"uid": "user_id"}` and a view of the
    join key `user_id`, a source of `uid, ts, x` is asked for the key `uid`, the timestamp `ts`
    and the feature `x`, and the columns returned are `user_id, ts, x`.

    Raises
    ------
    SchemaError
        The source has no such timestamp column, or it holds no times.
    """
    source = view.batch_source
    mapping = dict(source.field_mapping or {})
    stored_name = {new: old for old, new in mapping.items()}
    stored = [str(name) for name, _ in source.get_table_column_names_and_types(repo_config)]
    times = [name for name in (source.timestamp_field, source.created_timestamp_column) if name]
    stored_times = [stored_name.get(name, name) for name in times]
    if stored_times[0] not in stored:
        raise schema_error(
            what,
            got=f"columns {stored}",
            expected=f"the timestamp {stored_times[0]!r} among them",
            remedy="Correct timestamp_field.",
        )
    keys = {stored_name.get(field.name, field.name) for field in view.entity_columns}
    table = offline_store.pull_all_from_table_or_query(
        config=repo_config,
        data_source=source,
        join_key_columns=[name for name in stored if name in keys],
        feature_name_columns=[name for name in stored if name not in {*keys, *stored_times}],
        timestamp_field=stored_times[0],
        created_timestamp_column=stored_times[1] if len(times) > 1 else None,
        start_date=window[0],
        end_date=window[1],
    ).to_arrow()
    table = table.rename_columns([mapping.get(name, name) for name in table.column_names])
    for name in times:
        column = to_microseconds(table.column(name), "up", f"{what}, column {name!r}")
        table = table.set_column(table.column_names.index(name), name, column)
    return TableRows(what, table)
