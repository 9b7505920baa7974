"""A slate of the past: one user and candidates, their features from the offline store."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from feast_fusion.column_names import split_column
from feast_fusion.training_set import TrainingSet
from serving.answers import UserKind
from serving.encoded_items import Flags, Items
from serving.online_features import HISTORY_VIEWS
from training.ranker.batching import RankerInputs
from training.ranker.columns import Numbers
from training.ranker.request_features import RequestEncoder
from training.ranker.user_block import UserBlock
from transformations import names
from transformations.collaborative.histories import Ints


@dataclass(frozen=True)
class PastSlate:
    """One user and the candidates, as history has both at one instant.

    Attributes
    ----------
    encoded : the user, encoded
    joined : the features of this slate's and of other slates' candidates
    at : (m,) the rows of this slate
    """

    user: TrainingSet
    encoded: UserBlock
    joined: TrainingSet
    at: Ints
    items: Items
    now: datetime
    encoder: RequestEncoder

    def inputs(self, collaborative: Mapping[str, Numbers]) -> RankerInputs:
        """What the ranker reads, one row per item."""
        now_s, block = self.now.timestamp(), self.items.block
        return self.encoder.transform(self.encoded, block, now_s, collaborative)

    def values(self) -> Numbers:
        """(m,) mean value of the events of each item, NaN where there is none."""
        return self.encoder.mean_values(self.items.block)

    def rows(self, at: Ints) -> TrainingSet:
        """The features of the items in the given places, each with the user's features."""
        return self.joined.take(self.at[at])


def encode_rows(encoder: RequestEncoder, rows: TrainingSet) -> Items:
    """The items of rows with features of items."""
    acted_on = _has_any(rows, (names.ITEM_STATS,))
    described = _has_any(rows, (names.ITEM_PROFILE, names.ITEM_EMBEDDING))
    return Items(encoder.encode_items(rows), acted_on, described)


def _has_any(rows: TrainingSet, views: tuple[str, ...]) -> Flags:
    """(n,) whether a row has any feature of the views."""
    found = np.zeros(len(rows), dtype=bool)
    for name in rows.names:
        if split_column(name)[0] not in views:
            continue
        if name in rows.table.column_names:
            found |= rows.table[name].is_valid().to_numpy()
        else:
            found |= {**rows.vectors, **rows.lists}[name].present
    return found


def kind_of(user: TrainingSet) -> UserKind:
    """How well known the user of one row with features of users is."""
    if _has_any(user, HISTORY_VIEWS)[0]:
        return "known"
    return "profile_only" if _has_any(user, (names.USER_PROFILE,))[0] else "unknown"
