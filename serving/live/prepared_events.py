"""The interactions of one preparation in memory: by user, by item, and by event id."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transformations.event_log import Ints, sort_events
from transformations.id_map import IdMap
from transformations.running_activity import Occurrence


class PreparedEvents:
    """n prepared interactions.

    Parameters
    ----------
    interactions : the prepared table
    items : all items; the item of an occurrence is its code here
    """

    def __init__(self, interactions: pa.Table, items: IdMap) -> None:
        table = interactions.combine_chunks()
        self._time = np.asarray(pc.cast(table["event_timestamp"], pa.int64()))
        self._item = items.codes(table["item_id"])
        self._positive = np.asarray(table["positive"])
        self._value = np.asarray(pc.fill_null(table["value"], float("nan")))
        self._event_type = _optional(table, "event_type")
        self._event_id = _optional(table, "event_id")
        self._by = {kind: _Groups.of(table, f"{kind}_id") for kind in ("user", "item")}
        self._ids = _EventIds(self._event_id)

    def of(self, kind: str, entity_id: str, first: int = 0) -> list[Occurrence]:
        """The interactions of a "user" or an "item", in replay order, from `first` on."""
        rows = self._by[kind].rows_of(entity_id)[first:]
        if not len(rows):
            return []
        at = pa.array(rows)
        columns = (
            self._time[rows].tolist(),
            self._item[rows].tolist(),
            [event_id or "" for event_id in self._event_id.take(at).to_pylist()],
            self._positive[rows].tolist(),
            self._value[rows].tolist(),
            self._event_type.take(at).to_pylist(),
        )
        return list(map(Occurrence, *columns))

    @cached_property
    def value_range(self) -> tuple[float, float] | None:
        """The least and the greatest value; None where no interaction has one."""
        known = self._value[np.isfinite(self._value)]
        return (float(known.min()), float(known.max())) if len(known) else None

    def has_user(self, user_id: str) -> bool:
        """Whether an interaction is of the user."""
        return self._by["user"].ids.code(user_id) is not None

    def contain(self, event_ids: Sequence[str]) -> list[bool]:
        """Whether an interaction has the id, per id."""
        return self._ids.contain(event_ids)


@dataclass(frozen=True)
class _Groups:
    """The rows of the entity with the code i are rows[start[i]:start[i + 1]], in replay order.

    Users of the file rows b, a, b give the ids a, b, the starts 0, 1, 3 and the rows 1, 0, 2.
    """

    ids: IdMap
    start: list[int]
    rows: Ints

    @classmethod
    def of(cls, interactions: pa.Table, key: str) -> "_Groups":
        ordered = sort_events(interactions, key)
        sizes = ordered.group_by(key, maintain_order=True).len()
        return cls(
            ids=IdMap(pa.array(sizes[key].to_list(), pa.string())),
            start=[0, *np.cumsum(sizes["len"].to_numpy()).tolist()],
            rows=ordered["row"].to_numpy().astype(np.int64),
        )

    def rows_of(self, entity_id: str) -> Ints:
        code = self.ids.code(entity_id)
        return self.rows[:0] if code is None else self.rows[self.start[code] : self.start[code + 1]]


class _EventIds:
    """Which event ids there are, in 16 bytes each: an in-memory set of strings takes ten times."""

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids
        known = np.flatnonzero(np.asarray(ids.is_valid()))
        hashes = _hashes(ids.take(pa.array(known)))
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._rows = known[order]

    def contain(self, event_ids: Sequence[str]) -> list[bool]:
        if not len(self._hashes) or not event_ids:
            return [False] * len(event_ids)
        wanted = _hashes(pa.array(event_ids, pa.string()))
        starts = np.searchsorted(self._hashes, wanted)
        ends = np.searchsorted(self._hashes, wanted, side="right")
        return [
            # equal hashes are no proof
            start < end and event_id in self._ids.take(pa.array(self._rows[start:end])).to_pylist()
            for event_id, start, end in zip(event_ids, starts.tolist(), ends.tolist(), strict=True)
        ]


def _hashes(ids: pa.Array) -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = pl.Series(ids, dtype=pl.String).hash().to_numpy()
    return hashes


def _optional(table: pa.Table, name: str) -> pa.Array:
    """The column, of type null where there is none."""
    if name not in table.column_names:
        return pa.nulls(len(table))
    column = table[name].combine_chunks()
    return column.dictionary_encode() if name == "event_type" else column
