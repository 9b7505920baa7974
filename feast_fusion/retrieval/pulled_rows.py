"""Rows of a source as Feast's own engines pull them: all of a window, or the newest of each key."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.repo_config import RepoConfig

from feast_fusion.parquet.newest import newest
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.outside_window import warn_of_rows_outside
from feast_fusion.parquet.parquet_source import POSITION, Positions
from feast_fusion.retrieval.retrieval_job import Job
from feast_fusion.times import to_micros

_BATCH_ROWS = 1 << 16


class PulledRows(Job):
    """The rows of a source within two times (both are in it; None is no bound).

    Parameters
    ----------
    config ... end_date : as Feast's `pull_all_from_table_or_query` has them; without join keys the
        rows get the constant key of Feast's views without entities
    only_newest : one row for each key, the newest
    """

    def __init__(
        self,
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: Sequence[str],
        feature_name_columns: Sequence[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        *,
        only_newest: bool = False,
    ) -> None:
        self.repo_path = config.repo_path
        what = f"data source {data_source.name!r}"
        self._rows = open_source(data_source, self.repo_path, what)
        self._keys, self._features = join_key_columns, feature_name_columns
        self._times = [name for name in (timestamp_field, created_timestamp_column) if name]
        self._only_newest = only_newest
        limits = np.iinfo(np.int64)
        self._window = (
            limits.min if start_date is None else to_micros(start_date),
            limits.max if end_date is None else to_micros(end_date),
        )

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        names = list(dict.fromkeys([*self._keys, *self._features, *self._times]))
        parts = [
            self._rows.no_rows(names),
            *self._rows.gather(names, self._positions(), _BATCH_ROWS),
        ]
        table = pa.concat_tables(parts).combine_chunks()  # Feast takes the first chunk
        if not self._keys:
            constant = pa.repeat(pa.scalar(DUMMY_ENTITY_VAL), len(table))
            table = table.append_column(DUMMY_ENTITY_ID, constant)
        return table

    def _positions(self) -> Positions:
        found = self._rows.keys([*self._keys, *self._times], self._times[0], self._window)
        if not len(found):
            warn_of_rows_outside(self._rows, self._times[0], self._window)
        if self._only_newest:
            return newest(pl.DataFrame(pl.from_arrow(found)), self._keys, self._times)
        positions: Positions = found.column(POSITION).to_numpy()
        return positions
