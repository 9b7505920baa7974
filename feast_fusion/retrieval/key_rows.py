"""What the as-of search reads of a source: keys, times and positions of its rows."""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from feast_fusion.parquet.parquet_source import POSITION, ParquetSource


@dataclass(frozen=True)
class KeyRows:
    """The rows of a source, without their features.

    Parameters
    ----------
    keys : the key columns
    created : the column of created times, where the source has one
    """

    source: ParquetSource
    keys: tuple[str, ...]
    timestamp: str
    created: str | None

    @property
    def names(self) -> list[str]:
        """What frames of labels and rows call the key columns."""
        return [f"k{i}" for i in range(len(self.keys))]

    def read(self, window: tuple[int, int], among: Collection[int] | None = None) -> pl.DataFrame:
        """Columns `k0, k1, ...`, `ts`, `created` and `position` of the rows within `window`.

        Times are microseconds; `among` is that of `ParquetSource.keys`.
        """
        times = [self.created] if self.created is not None else []
        found = self.source.keys([*self.keys, *times], self.timestamp, window, among)
        renamed = dict(zip(self.names, map(found.column, self.keys), strict=True))
        renamed["ts"] = found.column(self.timestamp).cast(pa.int64())
        if self.created is not None:
            renamed["created"] = found.column(self.created).cast(pa.int64())
        renamed["position"] = found.column(POSITION)
        return pl.DataFrame(pl.from_arrow(pa.table(renamed)))
