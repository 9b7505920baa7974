"""The features of one user and some items, read from the online store at request time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from feast import FeatureStore
from feast.types import from_feast_to_pyarrow_type
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column, logical_name, split_view
from feast_fusion.errors import schema_error
from feast_fusion.feature_service import encoder_of, open_service
from feast_fusion.online.codec.value_decoding import Column, Ragged
from feast_fusion.online.read_plan import KeyGroup
from feast_fusion.online.reader import ViewRows, decode_group
from feast_fusion.online.redis.transport import Reply
from feast_fusion.redis_matrix import online_store_of
from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import Indexed, TrainingSet
from serving.answers import UserKind
from serving.online_views import LEFT_AT
from transformations import names

USER, ITEM = "user_id", "item_id"

HISTORY_VIEWS = (names.USER_RECENT, names.USER_STATS, names.USER_INTEREST, names.USER_EMBEDDING)
_RECENT_ITEMS = feature_column(names.USER_RECENT, "item_ids")


@dataclass(frozen=True)
class UserFeatures:
    """What the online store knows of one user: one row of each view of users.

    Attributes
    ----------
    stored : as it was read, where `views` are those after a visit, see `with_visit`
    """

    user_id: str
    views: Sequence[ViewRows]
    stored: "UserFeatures | None" = None

    def has(self, view: str) -> bool:
        """Whether the user has a row of the view, named without an encoder id."""
        return any(
            bool(rows.present[0]) for rows in self.views if split_view(rows.plan.name)[0] == view
        )

    @property
    def kind(self) -> UserKind:
        """How well known the user is: by which views have a row of the user."""
        if any(map(self.has, HISTORY_VIEWS)):
            return "known"
        return "profile_only" if self.has(names.USER_PROFILE) else "unknown"

    def since(self, view: str) -> int | None:
        """Event time of the user's row of the view, microseconds; -1 for none, None for no view."""
        for rows in self.views:
            if split_view(rows.plan.name)[0] == view:
                stamp = rows.event_timestamps[0]
                return -1 if np.isnat(stamp) else int(stamp.astype(np.int64))
        return None

    @property
    def has_left(self) -> bool:
        """Whether what follows from live events was removed, see `OnlineViews.mark_left`."""
        return self.since(names.USER_RECENT) == LEFT_AT

    @property
    def recent_items(self) -> set[str]:
        """The items of `user_recent`, which has live events before any preparation folds them."""
        column = self._column(_RECENT_ITEMS)
        return set(column.take(np.array([0])).values) if isinstance(column, Ragged) else set()

    def _column(self, feature: str) -> Column | None:
        for rows in self.views:
            for name, column in rows.columns.items():
                if logical_name(name) == feature and rows.valid[name][0]:
                    return column
        return None


def views_of_each(views: Sequence[ViewRows]) -> list[frozenset[str]]:
    """By entity the views that have a row of it, also one that has expired."""
    there = [(rows.plan.name, (rows.present | rows.expired).tolist()) for rows in views]
    n = len(there[0][1])
    return [frozenset(name for name, flags in there if flags[at]) for at in range(n)]


class OnlineFeatures:
    """Reads what a feature service names, in the form the ranker was trained on."""

    def __init__(self, store: FeatureStore, service: str) -> None:
        self._store = store
        self._online = online_store_of(store)
        self._service = open_service(store, service)
        self.encoder_id = encoder_of(self._service)
        self._types: dict[str, pa.DataType] = {}
        self.dimension = 0
        for projection in self._service.feature_view_projections:
            for field in projection.features:
                name = feature_column(projection.name_to_use(), field.name)
                self._types[name] = from_feast_to_pyarrow_type(field.dtype)
                self.dimension = max(self.dimension, field.vector_length)
        self._group(USER), self._group(ITEM)  # both must be there

    @property
    def columns(self) -> set[str]:
        """Names of the service's features, as training sets have them."""
        return {logical_name(name) for name in self._types}

    @property
    def views(self) -> list[str]:
        """The registered names of the service's views."""
        return [projection.name for projection in self._service.feature_view_projections]

    def read_user(self, user_id: str) -> UserFeatures:
        """What the online store knows of a user.

        Raises
        ------
        StoreUnavailableError
            Redis does not answer in time.
        """
        wanted = [(self._group(USER), [[user_id]])]
        return UserFeatures(user_id, self._online.read_views(self._store.config, wanted)[0])

    def read_users(
        self, user_ids: Sequence[str], now: datetime
    ) -> tuple[list[UserFeatures], TrainingSet]:
        """`read_user` of each in one round trip, and a row with the features of each."""
        group, replies = self._group(USER), self._replies([(USER, user_ids)])[0]
        views = decode_group(group, replies, _instant(now))
        users = [
            UserFeatures(user_id, [view.alone(at) for view in views])
            for at, user_id in enumerate(user_ids)
        ]
        return users, self._joined({USER: pa.array(user_ids)}, views, len(users), now)

    def read_items(self, item_ids: Sequence[str]) -> list[Reply]:
        """The stored row of each item; `decode_items` reads it. Raises as `read_user`."""
        return self._replies([(ITEM, item_ids)])[0]

    def read_both(
        self, user_id: str, item_ids: Sequence[str], now: datetime
    ) -> tuple[UserFeatures, list[Reply]]:
        """`read_user` and `read_items` in one round trip."""
        user, items = self._replies([(USER, [user_id]), (ITEM, item_ids)])
        return UserFeatures(user_id, decode_group(self._group(USER), user, _instant(now))), items

    def are_there(self, key: str, ids: Sequence[str]) -> list[bool]:
        """Whether the store has anything of each user or item. Raises as `read_user`.

        Parameters
        ----------
        key : "user_id" or "item_id"
        """
        replies = self._replies([(key, ids)])[0]
        return [any(value is not None for value in reply) for reply in replies]

    def read_all(
        self, user_ids: Sequence[str], item_ids: Sequence[str], now: datetime
    ) -> list[list[ViewRows]]:
        """The views of users and those of items, in one round trip; raises as `read_user`."""
        users, items = self._replies([(USER, user_ids), (ITEM, item_ids)])
        return [
            decode_group(self._group(USER), users, _instant(now)),
            self.decode_items(items, now),
        ]

    def decode_items(self, replies: Sequence[Reply], now: datetime) -> list[ViewRows]:
        """The views of stored rows of items, at the time `now`."""
        return decode_group(self._group(ITEM), replies, _instant(now))

    @property
    def keys_expire(self) -> bool:
        """Whether Redis drops an entity that was not written to for a time."""
        return bool(self._store.config.online_store.key_ttl_seconds)

    @property
    def items_expire(self) -> bool:
        """Whether a view of items has a ttl, so that an unchanged row can come to its end."""
        return any(view.ttl is not None for view in self._group(ITEM).views)

    def item_rows(
        self, item_ids: Sequence[str], views: Sequence[ViewRows], now: datetime
    ) -> TrainingSet:
        """One row per item with the features of items only."""
        return self._joined({ITEM: pa.array(item_ids, pa.string())}, views, len(item_ids), now)

    def user_row(self, user: UserFeatures, now: datetime) -> TrainingSet:
        """One row with the features of the user only."""
        return self._joined({USER: pa.array([user.user_id])}, user.views, 1, now)

    def join(
        self, user: UserFeatures, item_ids: Sequence[str], replies: Sequence[Reply], now: datetime
    ) -> TrainingSet:
        """One row per item that was read, each with the user's features, as of `now`.

        A feature that the store does not have is null, or has the index -1.
        """
        items = self.item_rows(item_ids, self.decode_items(replies, now), now)
        repeated = self.user_row(user, now).take(np.zeros(len(items), dtype=np.int64))
        table = items.table
        for name in repeated.table.column_names:
            if name not in table.column_names:
                table = table.append_column(name, repeated.table[name])
        return TrainingSet(
            table, {**items.vectors, **repeated.vectors}, {**items.lists, **repeated.lists}
        )

    def _replies(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> list[list[Reply]]:
        groups = [(self._group(key), [list(ids)]) for key, ids in wanted]
        return self._online.read_replies(self._store.config, groups)

    def _group(self, key: str) -> KeyGroup:
        plan = self._online.read_plan(
            self._store.config, self._store.registry, self._service, full_feature_names=True
        )
        for group in plan.groups:
            if group.requested == (key,):
                return group
        raise schema_error(
            f"feature service {self._service.name}",
            got=f"views by {[group.requested for group in plan.groups]}",
            expected=f"one by {key}",
            remedy="Name views of users and of items in the service.",
        )

    def _joined(
        self, keys: dict[str, pa.Array], views: Sequence[ViewRows], n: int, now: datetime
    ) -> TrainingSet:
        columns = {**keys, "event_timestamp": pa.repeat(pa.scalar(now, TIMESTAMP), n)}
        vectors: dict[str, Indexed] = {}
        lists: dict[str, Indexed] = {}
        for rows in views:
            for name, column in rows.columns.items():
                valid, kind = rows.valid[name], self._types[name]
                if not pa.types.is_list(kind):
                    columns[logical_name(name)] = pa.array(column, kind, mask=~valid)
                    continue
                values = _lists(column, valid, kind)
                into = vectors if isinstance(values, np.ndarray) else lists
                into[logical_name(name)] = Indexed(values, _numbered(valid))
        return TrainingSet(pa.table(columns), vectors, lists)


def _lists(
    column: Column, valid: NDArray[np.bool_], kind: pa.DataType
) -> NDArray[np.float32] | pa.ListArray:
    """Only the values that are not null: a matrix of vectors, or lists."""
    if not isinstance(column, Ragged):
        matrix: NDArray[np.float32] = np.asarray(column)
        return matrix if valid.all() else np.ascontiguousarray(matrix[valid])
    known = column if valid.all() else column.take(np.flatnonzero(valid))
    values = pa.array(known.values, kind.value_type)
    return pa.ListArray.from_arrays(known.offsets.astype(np.int32), values)


def _numbered(valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(n,) position among the values that are not null; -1 is null."""
    return np.where(valid, np.cumsum(valid) - 1, -1).astype(np.int32)


def _instant(now: datetime) -> np.datetime64:
    return np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")
