"""A slate: one user and the items to rank, as the online store has both at this moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.online.redis.transport import Reply
from feast_fusion.training_set import TrainingSet
from intake.context import NO_CONTEXT, ContextColumns, is_context
from serving.encoded_items import MAX_ITEMS, EncodedItems, Items
from serving.online_features import OnlineFeatures, UserFeatures
from serving.request_context import NOTHING, Context, with_context
from training.ranker.batching import RankerInputs
from training.ranker.columns import Numbers, is_collaborative
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.request_features import RequestEncoder
from training.ranker.user_block import UserBlock


class RankedSlate(Protocol):
    """One user and m items at one time, wherever their features were read."""

    @property
    def items(self) -> Items:
        """The m items, encoded."""

    def inputs(self, collaborative: Mapping[str, Numbers]) -> RankerInputs:
        """What the ranker reads, one row per item.

        Parameters
        ----------
        collaborative : (m,) by column, see `Catalogue.collaborative`
        """

    def values(self) -> Numbers:
        """(m,) mean value of the events of each item, NaN where there is none."""

    def rows(self, at: NDArray[np.int64]) -> TrainingSet:
        """The features of the items in the given places, each joined with the user's features."""


@dataclass(frozen=True)
class Slate:
    """One user and m items, as of `now`.

    Attributes
    ----------
    encoded : the user, encoded
    rows_of_users : the features of this and other users, a row each
    place : the row of this user
    """

    user: UserFeatures
    encoded: UserBlock
    rows_of_users: TrainingSet
    place: int
    item_ids: Sequence[str]
    items: Items
    now: datetime
    replies: Sequence[Reply]
    features: OnlineFeatures
    encoder: RequestEncoder

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def user_row(self) -> TrainingSet:
        """The features of the user, one row."""
        rows = self.rows_of_users
        return rows if len(rows) == 1 else rows.take(np.array([self.place]))

    def inputs(self, collaborative: Mapping[str, Numbers]) -> RankerInputs:
        """What the ranker reads, one row per item."""
        now_s, block = self.now.timestamp(), self.items.block
        return self.encoder.transform(self.encoded, block, now_s, collaborative)

    def values(self) -> Numbers:
        """(m,) mean value of the events of each item, NaN where there is none."""
        return self.encoder.mean_values(self.items.block)

    def rows(self, at: NDArray[np.int64]) -> TrainingSet:
        """The features of the items in the given places, each joined with the user's features."""
        places = at.tolist()
        item_ids = [self.item_ids[place] for place in places]
        replies = [self.replies[place] for place in places]
        joined = self.features.join(self.user, item_ids, replies, self.now)
        table, own = joined.table, self.rows_of_users.table
        for name in filter(is_context, own.column_names):
            table = table.append_column(name, pa.repeat(own[name][self.place], len(table)))
        return TrainingSet(table, joined.vectors, joined.lists)


def require_features(features: OnlineFeatures, encoder: FeatureEncoder) -> None:
    """Refuse a feature service for a ranker that was trained on more.

    Raises
    ------
    SchemaError
        The feature service lacks a feature that the ranker was trained on.
    """
    read = {name for name in encoder.columns if not is_collaborative(name)}
    missing = sorted(read - features.columns)
    if missing:
        raise schema_error(
            "features of the ranker",
            got=f"a feature service without {', '.join(missing)}",
            expected="every feature that it was trained on",
            remedy="Apply the feature service it was trained on, or train again: feast-fusion run.",
        )


class Slates:
    """Reads slates for one ranker. Safe for many threads; raises as `require_features`."""

    def __init__(
        self,
        features: OnlineFeatures,
        encoder: FeatureEncoder,
        max_items: int = MAX_ITEMS,
        columns: ContextColumns = NO_CONTEXT,
    ) -> None:
        require_features(features, encoder)
        self._features, self._columns = features, columns
        self._encoder = RequestEncoder(encoder)
        self._items = EncodedItems(features, self._encoder, max_items)

    def read(
        self,
        user_id: str,
        item_ids: Sequence[str],
        now: datetime,
        context: Context = NOTHING,
        visiting: Callable[[UserFeatures], UserFeatures] = lambda user: user,
    ) -> Slate:
        """The slate of a user and items in a context, read in one round trip.

        Parameters
        ----------
        visiting : what becomes of the user's features before they are ranked with

        Raises
        ------
        StoreUnavailableError
            Redis does not answer in time.
        """
        user, replies = self._features.read_both(user_id, item_ids, now)
        user = visiting(user)
        row = self._features.user_row(user, now)
        stored = dict(zip(item_ids, replies, strict=True))
        return self._slates([user], row, [item_ids], stored, now, context)[0]

    def of(
        self,
        users: Sequence[UserFeatures],
        rows: TrainingSet,
        item_ids: Sequence[Sequence[str]],
        now: datetime,
        context: Context = NOTHING,
    ) -> list[Slate]:
        """The slates of users who have been read before, and whose features are `rows`.

        Raises as `read`.

        Parameters
        ----------
        item_ids : those of each user
        """
        distinct = list(dict.fromkeys(chain.from_iterable(item_ids)))
        stored = dict(zip(distinct, self._features.read_items(distinct), strict=True))
        return self._slates(users, rows, item_ids, stored, now, context)

    def _slates(
        self,
        users: Sequence[UserFeatures],
        rows: TrainingSet,
        item_ids: Sequence[Sequence[str]],
        stored: Mapping[str, Reply],
        now: datetime,
        context: Context,
    ) -> list[Slate]:
        rows = with_context(rows, self._columns, [context] * len(rows))
        encoded = self._encoder.encode_users(rows)
        found = []
        for place, (user, ids) in enumerate(zip(users, item_ids, strict=True)):
            replies = [stored[item_id] for item_id in ids]
            items = self._items.of(ids, replies, now)
            own = (user, encoded[place], rows, place)
            found.append(Slate(*own, ids, items, now, replies, self._features, self._encoder))
        return found
