"""What was known of an item at a time: its versions, looked up as of any instant."""

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transformations.event_log import Ints
from transformations.id_map import IdMap


@dataclass(frozen=True)
class ItemVersions:
    """v versions of k items, sorted by item and by the time from which each is the newest known.

    Attributes
    ----------
    ids : the k items
    item : (v,) codes of `ids`
    known_from : (v,) microseconds since the epoch
    table : (v,) rows of the prepared items, aligned
    """

    ids: IdMap
    item: Ints
    known_from: Ints
    table: pa.Table

    @cached_property
    def _moments(self) -> Ints:
        return np.unique(self.known_from)

    @cached_property
    def _position(self) -> Ints:
        return self._at(self.item, np.searchsorted(self._moments, self.known_from))

    @cached_property
    def _first(self) -> Ints:
        return np.searchsorted(self.item, np.arange(len(self.ids)))

    def _at(self, item: Ints, moment: Ints) -> Ints:
        return item * (len(self._moments) + 1) + moment

    def as_of(self, item: Ints, time: Ints) -> Ints:
        """(n,) row of the newest version known at `time` (n,); before the first, the first.

        An event may precede its item's first version, as when a catalogue is exported today:
        what the item is called is then still its best known name.
        """
        moment = np.searchsorted(self._moments, time, side="right")
        return np.maximum(
            np.searchsorted(self._position, self._at(item, moment)) - 1, self._first[item]
        )

    def row_at(self, item: int, time: int) -> int:
        """As `as_of`, for one item and time: what costs arrays much costs one event little."""
        known_from, first = self._lists
        return max(bisect_right(known_from, time, first[item], first[item + 1]) - 1, first[item])

    @cached_property
    def _lists(self) -> tuple[list[int], list[int]]:
        return self.known_from.tolist(), [*self._first.tolist(), len(self.item)]


def build_item_versions(items: pa.Table) -> ItemVersions:
    """The versions of prepared `items`.

    A version is known from the later of its event_timestamp and created, and counts only while
    it is the newest by (event_timestamp, created): a late correction of an old version that a
    newer one has replaced is left out.
    """
    has_created = "created" in items.column_names
    frame = pl.DataFrame(
        {
            "item_id": pl.Series(items["item_id"]),
            "time": _microseconds(items["event_timestamp"]),
            "created": _microseconds(items["created" if has_created else "event_timestamp"]),
        }
    ).with_row_index("row")
    frame = (
        frame.with_columns(
            age=pl.struct("time", "created", "row").rank("ordinal"),
            known_from=pl.max_horizontal("time", "created"),
        )
        .sort("item_id", "known_from", "age")
        .filter(pl.col("age") == pl.col("age").cum_max().over("item_id"))
        # of versions that become known at one moment only the newest is ever the newest known
        .unique(["item_id", "known_from"], keep="last", maintain_order=True)
    )
    item_ids = frame["item_id"].to_arrow()
    ids = IdMap.of(item_ids)
    return ItemVersions(
        ids=ids,
        item=ids.codes(item_ids),
        known_from=frame["known_from"].to_numpy(),
        table=items.take(frame["row"].to_numpy()),
    )


def _microseconds(column: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.cast(column, pa.int64()))
