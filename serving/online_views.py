"""Rows into the online views of a store, each row with the time at which it became known."""

import hashlib
from collections.abc import Sequence
from copy import copy
from typing import Any

import pyarrow as pa
from feast import FeatureStore
from feast.infra.online_stores.redis import _versioned_fv_name

from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.online.read_plan import created_field, feature_field, timestamp_field
from feast_fusion.redis_matrix import online_store_of

LEFT_AT = 0  # event time, microseconds, of the mark of a user who left: no event is so old

# In one step: a row that another process writes beside it stays whole, or becomes the mark.
_MARK = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], '')
  redis.call('HDEL', KEYS[1], unpack(ARGV, 2))
end
"""
_MARK_SHA = hashlib.sha1(_MARK.encode(), usedforsecurity=False).hexdigest()


class OnlineViews:
    """The online views of a store whose online store is a `MatrixRedisOnlineStore`."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._online = online_store_of(store)
        self._views: dict[str, Any] = {}

    def write(self, view: str, rows: pa.Table) -> None:
        """Write rows with a `created` column; the view itself need not have that column.

        A row stays out where the stored row has a newer event_timestamp, or the same
        event_timestamp and a `created` that is not older.
        """
        if view not in self._views:
            self._views[view] = _with_created(self._store.get_feature_view(view))
        self._online.write_table(self._store.config, self._views[view], rows)

    def mark_left(self, views: Sequence[str], user_ids: Sequence[str]) -> None:
        """Remove the rows of users from some of their views.

        In the first view a row without features remains, which happened at `LEFT_AT`: whoever
        reads it knows that there was more, and any row that is written replaces it. A user without
        a row there has nothing to mark.
        """
        if not user_ids:
            return
        config = self._store.config
        found = [self._store.get_feature_view(view) for view in views]
        (join,) = found[0].entity_columns
        keys = encode_keys([join.name], [user_ids], [join.dtype.to_value_type()], config.project)
        [mark, *others] = [_versioned_fv_name(view, config) for view in found]
        fields = [
            feature_field(name, field.name)
            for name, view in zip([mark, *others], found, strict=True)
            for field in view.features
        ]
        fields += [created_field(mark)]
        fields += [named(name) for name in others for named in (timestamp_field, created_field)]
        arguments = (timestamp_field(mark), *fields)
        calls: list[tuple[bytes | int | str, ...]] = [
            ("EVALSHA", _MARK_SHA, 1, key, *arguments) for key in keys
        ]
        self._online.transport(config.online_store).write(calls, scripts=(_MARK,))

    def remove(self, view: str, entity_ids: Sequence[str]) -> None:
        """Remove entities from the store with all that it has of them, in every view.

        view : any of theirs
        """
        config = self._store.config
        (join,) = self._store.get_feature_view(view).entity_columns
        kinds = [join.dtype.to_value_type()]
        keys = encode_keys([join.name], [entity_ids], kinds, config.project) if entity_ids else []
        if keys:
            self._online.transport(config.online_store).write([("DEL", key) for key in keys])


def _with_created(view: Any) -> Any:
    """The view as if its source had a created timestamp: a row without one counts as older."""
    # Feast's own copy of a view leaves its version out.
    found = object.__new__(type(view))
    vars(found).update(vars(view))
    found.batch_source = copy(view.batch_source)
    found.batch_source.created_timestamp_column = "created"
    return found
