"""The prepared history that live events come on top of, in memory, by user and by item."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feast_fusion.errors import FeatureNotFoundError
from intake.event import Event
from intake.positive import PositiveRule
from intake.workspace import Workspace
from transformations.categories import CategoryLookup
from transformations.embedding import load_item_vectors
from transformations.event_log import Ints, sort_events
from transformations.item_versions import build_item_versions
from transformations.running_activity import (
    Occurrence,
    RunningInterest,
    RunningStatistics,
    RunningUser,
)

# What identifies a preparation: (modified, inode) of its manifest.
Stamp = tuple[int, int]


class PreparedHistory:
    """One preparation of a workspace: what prepare has folded in. Never changes.

    Parameters
    ----------
    encoder_id : that of the interest vectors; None where there are none

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared, or it is being replaced at this moment.
    SchemaError
        It was prepared by another version.
    """

    def __init__(self, workspace: Workspace, encoder_id: str | None) -> None:
        self.stamp = read_stamp(workspace)
        self._workspace = workspace
        try:
            manifest = json.loads((workspace.sources / "prepared.json").read_text("utf-8"))
            items = pq.read_table(workspace.sources / "items.parquet")
            interactions = pq.read_table(workspace.sources / "interactions.parquet")
        except OSError as error:
            raise _nothing_prepared(workspace) from error
        self.fingerprint: str = manifest["fingerprint"]
        self.versions = build_item_versions(items)
        self.item_ids: list[str] = self.versions.ids.ids.to_pylist()
        self._items = {item_id: place for place, item_id in enumerate(self.item_ids)}
        self._categories = CategoryLookup(self.versions, workspace.dataset.items.categorical)
        self._events = _read_events(interactions, self._items)
        self._by = {key: _group(interactions, key) for key in ("user_id", "item_id")}
        self._ids = _IdIndex(self._events.event_id)
        self._rule = PositiveRule(workspace.dataset, _columns_of_file(workspace))
        self._vectors = None if encoder_id is None else load_item_vectors(workspace, encoder_id)
        if read_stamp(workspace) != self.stamp:
            raise FeatureNotFoundError(
                f"{workspace.sources}: got two preparations while reading, expected one. Try again."
            )

    def item(self, item_id: str) -> int | None:
        """The place of an item among all item ids, ascending; None where it is unknown."""
        return self._items.get(item_id)

    def are_folded(self, event_ids: Sequence[str]) -> list[bool]:
        """Whether an interaction has the id, per id."""
        return self._ids.contain(event_ids)

    def positives(self, events: Sequence[Event]) -> list[bool | None]:
        """Whether each event is positive; None where it is undecided, hence unusable."""
        return self._rule.decide(events)

    def occurrences(self, key: str, entity_id: str) -> list[Occurrence]:
        """The interactions of a user or item (`key` is "user_id" or "item_id"), in replay order."""
        group = self._by[key]
        at = group.index.get(entity_id)
        if at is None:
            return []
        return self._events.take(group.rows[group.start[at] : group.start[at + 1]])

    def new_item(self) -> RunningStatistics:
        """An item without events."""
        return RunningStatistics(self._workspace.dataset.activity)

    def new_user(self) -> RunningUser:
        """A user without events."""
        return RunningUser(self._workspace.dataset.activity, self._categories)

    def new_interest(self) -> RunningInterest | None:
        """The interest of a user without events; None where there are no vectors."""
        if self._vectors is None:
            return None
        versions, vectors, present = self._vectors
        return RunningInterest(self._workspace.dataset.interest, versions, vectors, present)


def read_stamp(workspace: Workspace) -> Stamp:
    """What changes with each preparation.

    Raises
    ------
    FeatureNotFoundError
        Nothing was prepared.
    """
    try:
        found = (workspace.sources / "prepared.json").stat()
    except OSError as error:
        raise _nothing_prepared(workspace) from error
    return found.st_mtime_ns, found.st_ino


def _nothing_prepared(workspace: Workspace) -> FeatureNotFoundError:
    return FeatureNotFoundError(
        f"{workspace.sources}: got no prepared sources, expected those that live events come on "
        "top of. Run feast-fusion prepare."
    )


@dataclass(frozen=True)
class _Events:
    """n interactions in file order; `event_type` and `event_id` may be of type null."""

    time: Ints
    item: Ints
    positive: NDArray[np.bool_]
    value: NDArray[np.float64]
    event_type: pa.Array
    event_id: pa.Array

    def take(self, rows: Ints) -> list[Occurrence]:
        at = pa.array(rows)
        return list(
            map(
                Occurrence,
                self.time[rows].tolist(),
                self.item[rows].tolist(),
                [event_id or "" for event_id in self.event_id.take(at).to_pylist()],
                self.positive[rows].tolist(),
                self.value[rows].tolist(),
                self.event_type.take(at).to_pylist(),
            )
        )


@dataclass(frozen=True)
class _Group:
    """The events of the entity with index i are rows[start[i]:start[i + 1]], in replay order."""

    index: dict[str, int]
    start: list[int]
    rows: Ints


class _IdIndex:
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


def _read_events(interactions: pa.Table, items: dict[str, int]) -> _Events:
    table = interactions.combine_chunks()
    names = pa.array(list(items), pa.string())
    return _Events(
        time=np.asarray(pc.cast(table["event_timestamp"], pa.int64())),
        item=pc.index_in(table["item_id"], names).to_numpy().astype(np.int64),
        positive=np.asarray(table["positive"]),
        value=np.asarray(pc.fill_null(table["value"], float("nan"))),
        event_type=_optional(table, "event_type"),
        event_id=_optional(table, "event_id"),
    )


def _optional(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(len(table))
    column = table[name].combine_chunks()
    return column.dictionary_encode() if name == "event_type" else column


def _group(interactions: pa.Table, key: str) -> _Group:
    ordered = sort_events(interactions, key)
    sizes = ordered.group_by(key, maintain_order=True).len()
    return _Group(
        index={entity_id: at for at, entity_id in enumerate(sizes[key])},
        start=[0, *np.cumsum(sizes["len"].to_numpy()).tolist()],
        rows=ordered["row"].to_numpy().astype(np.int64),
    )


def _columns_of_file(workspace: Workspace) -> pa.Schema:
    """What `positive` may name; the file need not be there where events are only served."""
    try:
        return pq.read_schema(workspace.dataset.interactions.path)
    except (OSError, pa.ArrowException):
        return pa.schema([])
