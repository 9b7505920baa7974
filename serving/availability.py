"""When the items of a catalogue may be recommended, as the data set says of each."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feast_fusion.parquet.whole import read_parquet, read_schema
from feast_fusion.times import to_micros
from intake.versioned_tables import Items
from transformations.id_map import IdMap

_NEVER_ENDS = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Availability:
    """When each of n items may be recommended: in [since, until), unless it is hidden.

    Attributes
    ----------
    since, until : (n,) microseconds since the epoch
    is_hidden : (n,) bool
    """

    since: NDArray[np.int64]
    until: NDArray[np.int64]
    is_hidden: NDArray[np.bool_]

    def at(self, now: datetime) -> NDArray[np.bool_]:
        """(n,) whether an item may be recommended at an instant."""
        instant = to_micros(now)
        found: NDArray[np.bool_] = (
            (self.since <= instant) & (instant < self.until) & ~self.is_hidden
        )
        return found


def load_availability(
    path: Path, section: Items, items: IdMap, at: datetime
) -> Availability | None:
    """As the newest versions of items have it at an instant; None where the data set says nothing.

    Parameters
    ----------
    path : the prepared items
    """
    if not section.availability:
        return None
    times = [name for name in ("event_timestamp", "created") if name in read_schema(path).names]
    versions = pl.DataFrame(read_parquet(path, ["item_id", *times, *section.availability]))
    newest = (
        versions.filter(pl.all_horizontal(pl.col(times) <= at))
        .sort(times)
        .unique("item_id", keep="last")
    )
    rows = pl.DataFrame({"item_id": pl.Series(items.ids)})
    rows = rows.join(newest, on="item_id", how="left", maintain_order="left")
    return Availability(
        _micros(rows, section.available_from, 0),
        _micros(rows, section.available_until, _NEVER_ENDS),
        _flags(rows, section.hidden),
    )


def _micros(rows: pl.DataFrame, name: str | None, otherwise: int) -> NDArray[np.int64]:
    if name is None:
        return np.full(len(rows), otherwise)
    found: NDArray[np.int64] = rows[name].to_physical().fill_null(otherwise).to_numpy()
    return found


def _flags(rows: pl.DataFrame, name: str | None) -> NDArray[np.bool_]:
    if name is None:
        return np.zeros(len(rows), dtype=bool)
    found: NDArray[np.bool_] = rows[name].fill_null(value=False).to_numpy()
    return found
