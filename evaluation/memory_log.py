"""A log that is not stored: one that began later, or that lacks items, made from the whole one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from feast_fusion.training_set import TrainingSet
from training.ranker.columns import Profile
from transformations.collaborative.histories import Events, Histories, Ints
from transformations.collaborative.neighbour_fit import fit_versions
from transformations.collaborative.versions import ItemVersion, version_ends


@dataclass(frozen=True)
class MemoryLog:
    """A `FitLog` of given events.

    Attributes
    ----------
    rows : the features of the items, by code
    history : newest events of a user that count
    every : events between two versions of the item models
    """

    events: Events
    rows: TrainingSet
    profile: Profile
    history: int
    every: int
    _fitted: list[ItemVersion] = field(default_factory=list, init=False, repr=False)

    def item_rows(self, n_rows: int) -> TrainingSet:
        """The same at each time."""
        return self.rows

    def histories(self, rows: Ints) -> Histories:
        """The newest events before each."""
        return self.events.histories(self.events.user[rows], self.events.time[rows], self.history)

    def places(self, at: Ints) -> Ints:
        """See `training.next_item.fit_log.FitLog`."""
        found: Ints = np.searchsorted(self._stamps, at, side="right") - 1
        return found

    def version(self, place: int) -> ItemVersion:
        """Fitted when it is first asked for, and every one before it."""
        if place < 0:
            return ItemVersion.empty(len(self.events.items))
        while len(self._fitted) <= place:
            self._fitted.append(next(self._fitting))
        return self._fitted[place]

    @cached_property
    def _ends(self) -> list[int]:
        return version_ends(self.events.time, self.every)

    @cached_property
    def _stamps(self) -> Ints:
        return self.events.time[np.array(self._ends, np.int64) - 1] + 1

    @cached_property
    def _fitting(self) -> Iterator[ItemVersion]:
        return fit_versions(self.events, self._ends, self.history)
