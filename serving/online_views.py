"""Rows into the online views of a store, each row with the time at which it became known."""

from copy import copy
from typing import Any

import pyarrow as pa
from feast import FeatureStore

from feast_fusion.redis_matrix import online_store_of


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


def _with_created(view: Any) -> Any:
    """The view as if its source had a created timestamp: a row without one counts as older."""
    # Feast's own copy of a view leaves its version out.
    found = object.__new__(type(view))
    vars(found).update(vars(view))
    found.batch_source = copy(view.batch_source)
    found.batch_source.created_timestamp_column = "created"
    return found
