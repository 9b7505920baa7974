"""Items as the ranker reads them: decoded and encoded once for each version of a stored row."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from feast_fusion.column_names import split_view
from feast_fusion.online.redis.transport import Reply
from serving.online_features import OnlineFeatures
from serving.vector_index import Rows
from training.ranker.item_block import ItemBlock
from training.ranker.request_features import RequestEncoder
from transformations import names

# Encoded items that are kept; beyond it all are forgotten. A MovieLens item takes about 3 KB.
MAX_ITEMS = 20_000

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Items:
    """m encoded items, and what is known of each.

    Attributes
    ----------
    acted_on : (m,) bool, whether the item has statistics
    described : (m,) bool, whether it has a profile or a vector
    """

    block: ItemBlock
    acted_on: Flags
    described: Flags

    @property
    def known(self) -> Flags:
        """(m,) whether anything is known of the item."""
        return self.acted_on | self.described

    def take(self, rows: Rows) -> "Items":
        """The given rows, in the given order."""
        return Items(self.block.take(rows), self.acted_on[rows], self.described[rows])

    def with_room(self, n: int) -> "Items":
        """n empty rows."""
        return Items(self.block.with_room(n), np.zeros(n, dtype=bool), np.zeros(n, dtype=bool))

    def put(self, rows: Rows, items: "Items") -> "Items":
        """These items with `items` in the given rows, which are changed in place."""
        self.acted_on[rows], self.described[rows] = items.acted_on, items.described
        return replace(self, block=self.block.put(rows, items.block))


class EncodedItems:
    """At most `limit` encoded items of one ranker. Safe for many threads.

    The store's item cache returns a row that has not changed as the very same object, so the
    object tells whether an encoded item is still right:

    =========  =======================  ============  =========================
    asked for  stored rows              encoded now   places
    =========  =======================  ============  =========================
    a, b       A, B                     a, b          a at 0, b at 1
    b, c       B, C                     c             a at 0, b at 1, c at 2
    a, c       A' (another object), C   a, at 0 anew  a at 0, b at 1, c at 2
    =========  =======================  ============  =========================
    """

    def __init__(self, features: OnlineFeatures, encoder: RequestEncoder, limit: int) -> None:
        self._features = features
        self._encoder = encoder
        self._limit = limit
        self._lock = threading.Lock()
        self._place: dict[str, int] = {}
        self._row: dict[str, Reply] = {}
        self._kept: Items | None = None

    def of(self, item_ids: Sequence[str], rows: Sequence[Reply], now: datetime) -> Items:
        """The m items of m stored rows, in their order."""
        with self._lock:
            # An unchanged row can come to its end where rows expire.
            if self._features.items_expire or not 0 < len(item_ids) <= self._limit:
                return self._encode(item_ids, rows, now)
            if len(self._place) + len(item_ids) > self._limit:
                self._place, self._row, self._kept = {}, {}, None
            known = map(self._row.get, item_ids)
            changed = [
                (item_id, row)
                for item_id, row, before in zip(item_ids, rows, known, strict=True)
                if before is not row
            ]
            if changed or self._kept is None:
                self._kept = self._keep(changed, now)
            return self._kept.take(self._places(item_ids))

    def _keep(self, changed: Sequence[tuple[str, Reply]], now: datetime) -> Items:
        """What is kept, with the changed items in their places, new items in new places."""
        item_ids, rows = [item_id for item_id, _ in changed], [row for _, row in changed]
        encoded = self._encode(item_ids, rows, now)
        for item_id, row in changed:
            self._place.setdefault(item_id, len(self._place))
            self._row[item_id] = row
        kept = encoded.with_room(self._limit) if self._kept is None else self._kept
        return kept.put(self._places(item_ids), encoded)

    def _places(self, item_ids: Sequence[str]) -> Rows:
        return np.fromiter(map(self._place.__getitem__, item_ids), np.int64, len(item_ids))

    def _encode(self, item_ids: Sequence[str], rows: Sequence[Reply], now: datetime) -> Items:
        views = self._features.decode_items(rows, now)
        present = {split_view(view.plan.name)[0]: view.present for view in views}
        nothing = np.zeros(len(item_ids), dtype=bool)
        described = present.get(names.ITEM_PROFILE, nothing) | present.get(
            names.ITEM_EMBEDDING, nothing
        )
        block = self._encoder.encode_items(self._features.item_rows(item_ids, views, now))
        return Items(block, present.get(names.ITEM_STATS, nothing), described)
