"""What the model is fitted to: a log, and what was known just before each of its events."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import pyarrow as pa
from feast import FeatureStore

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from training.ranker.columns import Profile
from training.retrieval import build_rows_of
from transformations import names
from transformations.collaborative.histories import Events, Histories, Ints, take_events
from transformations.collaborative.prepared_log import read_prepared_events
from transformations.collaborative.versions import ItemVersion, Versions


class FitLog(Protocol):
    """A log of events, with the point-in-time view that a model is fitted by."""

    @property
    def events(self) -> Events:
        """All events; a model is fitted to the first of them."""

    @property
    def profile(self) -> Profile:
        """The profile columns of the items."""

    def item_rows(self, n_rows: int) -> TrainingSet:
        """The features of all items, by code, as of just after the first `n_rows` events."""

    def histories(self, rows: Ints) -> Histories:
        """What was known of the users of these events just before each."""

    def places(self, at: Ints) -> Ints:
        """(q,) which version of the item models was the newest at each instant (us)."""

    def version(self, place: int) -> ItemVersion:
        """The version of the item models that `places` names."""


@dataclass(frozen=True)
class StoredLog:
    """The log of a workspace; what was known comes from the offline store.

    rows : ascending row numbers of the events that are there; None for all
    service : names the features of items
    """

    workspace: Workspace
    store: FeatureStore
    rows: Ints | None = None
    service: str = names.SERVICE

    @cached_property
    def events(self) -> Events:
        """The prepared events."""
        events = read_prepared_events(self.workspace)
        return events if self.rows is None else take_events(events, self.rows)

    @cached_property
    def profile(self) -> Profile:
        """As dataset.toml declares it."""
        return Profile.of(self.workspace.dataset)

    def item_rows(self, n_rows: int) -> TrainingSet:
        """See `FitLog`."""
        items, at = self.events.items, self.events.time[n_rows - 1] + 1
        times = pa.repeat(pa.scalar(int(at), TIMESTAMP), len(items))
        spine = pa.table({"item_id": items.ids, "event_timestamp": times})
        return build_rows_of(self.store, self.service, spine)

    def histories(self, rows: Ints) -> Histories:
        """What the online store would have had of the users of these events, just before each."""
        events = self.events
        spine = pa.table(
            {
                "user_id": events.users.take(events.user[rows]),
                "event_timestamp": pa.array(events.time[rows], pa.int64()).cast(TIMESTAMP),
            }
        )
        found = build_rows_of(self.store, names.NEXT_ITEM_SERVICE, spine)
        return Histories.of(found, events.items)

    def places(self, at: Ints) -> Ints:
        """See `FitLog`."""
        return self._versions.places(at)

    def version(self, place: int) -> ItemVersion:
        """See `FitLog`."""
        return self._versions.read(place)

    @cached_property
    def _versions(self) -> "Versions[ItemVersion]":
        source = self.workspace.source(names.ITEM_NEIGHBOURS)
        return Versions(source, self.events.items, ItemVersion)
