"""What other people's answers say of a user and an item: the ranker's collaborative numbers.

They come from the newest version of `item_factors` and `item_neighbours` at the instant of a row
and from the user's recent events. So they are features like any other: point-in-time in a training
set, of the newest version in a request, and following the events between two trainings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from training.ranker.columns import Ints, Numbers
from training.ranker.recent_lists import ITEM_IDS
from transformations import names
from transformations.collaborative.histories import Histories
from transformations.collaborative.item_factors import FactorVersion
from transformations.collaborative.item_models import weighted_items
from transformations.collaborative.tastes import EXPECTED, Tastes
from transformations.collaborative.versions import ItemVersion, Versions
from transformations.id_map import IdMap

NAMES = (*EXPECTED, "together")
COLUMNS = tuple(feature_column(names.COLLABORATIVE, name) for name in NAMES)


@dataclass(frozen=True)
class Collaboration:
    """The versions of one instant, of i items.

    Attributes
    ----------
    items : ids in ascending order, so that sums over a history have the same bits everywhere
    together : (i, i) row j holds what an event with item j says for each other item
    """

    items: IdMap
    factors: FactorVersion
    together: sp.csr_matrix

    @cached_property
    def _beside(self) -> sp.csr_matrix:
        """(i, i) row j holds what an event with each other item says for item j."""
        return self.together.T.tocsr()

    def users(self, histories: Histories) -> "CollaborativeUsers":
        """The users of q histories."""
        weights = weighted_items(histories, len(self.items))
        weights.sum_duplicates()  # and in ascending order, as below: sums then have the same bits
        # Rows of the user's items: the other way round all items would be gone through.
        together = (weights @ self.together).toarray()
        return CollaborativeUsers(Tastes.of(self.factors, histories), together)

    def numbers_of_rows(self, rows: TrainingSet) -> dict[str, Numbers]:
        """(n,) by column for the user and the item of each row."""
        _, first, user = np.unique(
            rows.lists[ITEM_IDS].index, return_index=True, return_inverse=True
        )
        histories = Histories.of(rows.take(first), self.items)
        item = self.items.codes(rows.table["item_id"])
        if not len(self.items):
            return _nothing(len(item))
        weights = weighted_items(histories, len(self.items))[user]
        together = np.asarray(weights.multiply(self._beside[item]).sum(axis=1)).ravel()
        return _numbers(Tastes.of(self.factors, histories), user, item, together)


@dataclass(frozen=True)
class CollaborativeUsers:
    """q users, as a `Collaboration` sees them.

    Attributes
    ----------
    together : (q, i) what a user's events say for each item
    """

    tastes: Tastes
    together: NDArray[np.generic]

    def numbers(self, user: int, item: Ints) -> dict[str, Numbers]:
        """(n,) by column for a user (place) and n items (codes, -1: unknown)."""
        if not self.together.shape[1]:
            return _nothing(len(item))
        return _numbers(self.tastes, np.full(len(item), user), item, self.together[user, item])


def _nothing(n: int) -> dict[str, Numbers]:
    return dict.fromkeys(COLUMNS, np.full(n, np.nan))


def _numbers(
    tastes: Tastes, user: Ints, item: Ints, together: NDArray[np.generic]
) -> dict[str, Numbers]:
    found = tastes.expect(user, item)
    found["together"] = np.where(item < 0, np.nan, together)
    return {column: found[name] for column, name in zip(COLUMNS, NAMES, strict=True)}


class Collaborations:
    """All versions of a workspace's sources, for the given items."""

    def __init__(self, workspace: Workspace, item_ids: pa.ChunkedArray) -> None:
        self._items = items = IdMap.of(item_ids)
        self._neighbours = Versions(workspace.source(names.ITEM_NEIGHBOURS), items, ItemVersion)
        self._factors = Versions(workspace.source(names.ITEM_FACTORS), items, FactorVersion)

    def newest(self, at: int) -> Collaboration:
        """The one valid at an instant (us)."""
        together = self._neighbours.newest(at).together
        return Collaboration(self._items, self._factors.newest(at), together)

    def add_to(self, rows: TrainingSet) -> TrainingSet:
        """The rows with the collaborative numbers of each row's own instant as columns.

        Rows without the features of `user_recent` stay as they are.
        """
        if ITEM_IDS not in rows.lists or not len(rows):
            return rows
        times = rows.table["event_timestamp"].cast(TIMESTAMP).cast(pa.int64()).to_numpy()
        places = np.stack([self._neighbours.places(times), self._factors.places(times)])
        _, first, number = np.unique(places, axis=1, return_index=True, return_inverse=True)
        found: dict[str, Numbers] = {}
        for version, row in enumerate(first.tolist()):
            of_version = np.flatnonzero(number == version)
            valid = self.newest(int(times[row]))
            for name, column in valid.numbers_of_rows(rows.take(of_version)).items():
                found.setdefault(name, np.full(len(rows), np.nan))[of_version] = column
        return with_numbers(rows, found)


def with_numbers(rows: TrainingSet, numbers: Mapping[str, Numbers]) -> TrainingSet:
    """The rows with more scalar columns, null where a number is NaN."""
    table = rows.table
    for name, column in numbers.items():
        table = table.append_column(name, pa.array(column, from_pandas=True))
    return TrainingSet(table, rows.vectors, rows.lists)
