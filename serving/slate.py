"""A slate: one user and the items to rank, as the online store has them at this moment.

An item's row is decoded and encoded once and kept as long as the store's item cache returns the
very same row; a changed row is another object, so there is nothing to invalidate here.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.online.redis.transport import Reply
from feast_fusion.training_set import TrainingSet
from serving.online_features import OnlineFeatures, UserFeatures
from training.ranker.batching import RankerInputs
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.item_block import ItemBlock
from training.ranker.request_features import RequestEncoder

# Encoded items that are kept; beyond it all are forgotten. A MovieLens item takes about 3 KB.
MAX_ITEMS = 20_000

_DESCRIPTIONS = ("item_profile", "item_embedding")


@dataclass(frozen=True)
class Items:
    """m encoded items, and what is known of each.

    Attributes
    ----------
    acted_on : (m,) bool, whether the item has statistics
    described : (m,) bool, whether it has a profile or a vector
    """

    block: ItemBlock
    acted_on: NDArray[np.bool_]
    described: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Items":
        """The given rows, in the given order."""
        return Items(self.block.take(rows), self.acted_on[rows], self.described[rows])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(m,) whether anything is known of the item."""
        return self.acted_on | self.described

    def with_room(self, n: int) -> "Items":
        """n empty rows."""
        return Items(self.block.with_room(n), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool))


@dataclass(frozen=True)
class Slate:
    """One user and m items, as of `now`.

    Attributes
    ----------
    user_row : the features of the user, one row
    """

    user: UserFeatures
    user_row: TrainingSet
    item_ids: Sequence[str]
    items: Items
    now: datetime
    replies: Sequence[Reply]
    features: OnlineFeatures
    encoder: RequestEncoder

    def __len__(self) -> int:
        return len(self.item_ids)

    def inputs(self) -> RankerInputs:
        """What the ranker reads, one row per item."""
        return self.encoder.transform(self.user_row, self.items.block, self.now.timestamp())

    def rows(self, at: NDArray[np.int64]) -> TrainingSet:
        """The features of the items in the given places joined with those of the user."""
        places = at.tolist()
        item_ids = [self.item_ids[place] for place in places]
        replies = [self.replies[place] for place in places]
        return self.features.join(self.user, item_ids, replies, self.now)


class Slates:
    """Reads slates for one ranker. Safe for many threads.

    Raises
    ------
    SchemaError
        The feature service lacks a feature that the ranker was trained on.
    """

    def __init__(
        self, features: OnlineFeatures, encoder: FeatureEncoder, max_items: int = MAX_ITEMS
    ) -> None:
        missing = sorted(set(encoder.columns) - features.columns)
        if missing:
            raise schema_error(
                "features of the ranker",
                got=f"a feature service without {', '.join(missing)}",
                expected="every feature that it was trained on",
                remedy="Apply the feature service it was trained on, or train again.",
            )
        self._features = features
        self._encoder = RequestEncoder(encoder)
        self._max_items = max_items
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Reply | None, int]] = {}
        self._kept: Items | None = None

    def read(self, user_id: str, item_ids: Sequence[str], now: datetime) -> Slate:
        """The slate of a user and items, read in one round trip.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer in time.
        """
        user, replies = self._features.read_both(user_id, item_ids, now)
        return self._slate(user, item_ids, replies, now)

    def of(self, user: UserFeatures, item_ids: Sequence[str], now: datetime) -> Slate:
        """The slate of a user who has been read before; raises as `read`."""
        return self._slate(user, item_ids, self._features.read_items(item_ids), now)

    def _slate(
        self, user: UserFeatures, item_ids: Sequence[str], replies: Sequence[Reply], now: datetime
    ) -> Slate:
        items = self._encoded(item_ids, replies, now)
        user_row = self._features.user_row(user, now)
        return Slate(user, user_row, item_ids, items, now, replies, self._features, self._encoder)

    def _encoded(self, item_ids: Sequence[str], replies: Sequence[Reply], now: datetime) -> Items:
        with self._lock:
            # An unchanged row can come to its end where rows expire.
            if self._features.items_expire or not 0 < len(item_ids) <= self._max_items:
                return self._encode(item_ids, replies, now)
            if len(self._known) + len(item_ids) > self._max_items:
                self._forget()
            fresh = [
                at
                for at, (item_id, reply) in enumerate(zip(item_ids, replies, strict=True))
                if self._known.get(item_id, _NOTHING)[0] is not reply
            ]
            if fresh:
                self._keep(fresh, item_ids, replies, now)
            known = self._known
            rows = np.array([known[item_id][1] for item_id in item_ids], dtype=np.int64)
            kept = self._kept
            assert kept is not None
            return kept.take(rows)

    def _keep(
        self,
        fresh: list[int],
        item_ids: Sequence[str],
        replies: Sequence[Reply],
        now: datetime,
    ) -> None:
        encoded = self._encode([item_ids[at] for at in fresh], [replies[at] for at in fresh], now)
        for at in fresh:
            row = self._known.get(item_ids[at], (None, len(self._known)))[1]
            self._known[item_ids[at]] = (replies[at], row)
        rows = np.array([self._known[item_ids[at]][1] for at in fresh], dtype=np.int64)
        kept = self._kept or encoded.with_room(self._max_items)
        kept.acted_on[rows], kept.described[rows] = encoded.acted_on, encoded.described
        self._kept = replace(kept, block=kept.block.put(rows, encoded.block))

    def _encode(self, item_ids: Sequence[str], replies: Sequence[Reply], now: datetime) -> Items:
        views = self._features.decode_items(replies, now)
        present = {view.plan.name.partition("__")[0]: view.present for view in views}
        nothing = np.zeros(len(item_ids), dtype=bool)
        described = nothing.copy()
        for name in _DESCRIPTIONS:
            described |= present.get(name, nothing)
        rows = self._features.item_rows(item_ids, views, now)
        block = self._encoder.encode_items(rows)
        return Items(block, present.get("item_stats", nothing), described)

    def _forget(self) -> None:
        self._known, self._kept = {}, None


_NOTHING: tuple[None, int] = (None, -1)
