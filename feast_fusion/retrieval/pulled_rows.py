"""Rows of a source as Feast's own engines pull them: all of a window, or the newest of each key."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from feast_fusion.parquet.newest import newest
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parquet_source import POSITION, Positions
from feast_fusion.parquet.parts import save_table
from feast_fusion.times import to_micros

_BATCH_ROWS = 1 << 16


class PulledRows(RetrievalJob):  # type: ignore[misc]
    """The rows of `source` from `start` to `end` (both are in it; None is no bound).

    Parameters
    ----------
    keys, features : columns as named in the files; without keys the rows get the constant key of
        Feast's views without entities
    times : the event timestamp, and the created timestamp where the source has one
    only_newest : one row for each key, the newest
    """

    full_feature_names = False
    metadata: RetrievalMetadata | None = None
    on_demand_feature_views: Sequence[OnDemandFeatureView] = ()

    def __init__(
        self,
        source: DataSource,
        repo_path: Path | None,
        keys: Sequence[str],
        features: Sequence[str],
        times: Sequence[str],
        window: tuple[datetime | None, datetime | None],
        *,
        only_newest: bool,
    ) -> None:
        self._repo_path = repo_path
        self._rows = open_source(source, repo_path, f"data source {source.name!r}")
        self._keys, self._features, self._times = keys, features, times
        self._only_newest = only_newest
        start, end = window
        limits = np.iinfo(np.int64)
        self._window = (
            limits.min if start is None else to_micros(start),
            limits.max if end is None else to_micros(end),
        )

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        names = list(dict.fromkeys([*self._keys, *self._features, *self._times]))
        empty = pa.schema([(name, self._rows.type_of(name)) for name in names]).empty_table()
        parts = self._rows.gather(names, self._positions(), _BATCH_ROWS)
        table = pa.concat_tables([empty, *parts]).combine_chunks()  # Feast takes the first chunk
        if not self._keys:
            constant = pa.repeat(pa.scalar(DUMMY_ENTITY_VAL), len(table))
            table = table.append_column(DUMMY_ENTITY_ID, constant)
        return table

    def _positions(self) -> Positions:
        found = self._rows.keys([*self._keys, *self._times], self._times[0], self._window)
        if self._only_newest:
            return newest(pl.DataFrame(pl.from_arrow(found)), self._keys, self._times)
        positions: Positions = found.column(POSITION).to_numpy()
        return positions

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the rows as Parquet at `storage`."""
        save_table(self.to_arrow(), storage.to_data_source(), self._repo_path, allow_overwrite)
