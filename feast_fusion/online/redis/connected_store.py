"""Feast's Redis store on connections of our own: opened at first use, emptied, closed."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from feast.infra.online_stores.redis import RedisOnlineStore, _versioned_fv_name
from redis.exceptions import RedisError

from feast_fusion.online.entity_scan import delete_entities, delete_fields
from feast_fusion.online.options import OnlineStoreOptions
from feast_fusion.online.read_plan import created_field, feature_field, timestamp_field
from feast_fusion.online.redis.client import redis_client
from feast_fusion.online.redis.transport import Transport
from feast_fusion.online.row_memory import RowMemory, measure_rows


class ConnectedRedisStore(RedisOnlineStore):  # type: ignore[misc]
    """What does not read or write rows: connections, and deletion."""

    def __init__(self) -> None:
        super().__init__()
        self._client: Any = None
        self._lock = threading.Lock()
        self._opened: Transport | None = None

    def transport(self, options: OnlineStoreOptions) -> Transport:
        """The connections of this store, made at the first use."""
        with self._lock:
            if self._opened is None:
                self._opened = Transport(options)
            return self._opened

    @contextmanager
    def scanning(self, config: Any) -> Iterator[Any]:
        """A redis-py client that never retries; its errors come as `StoreUnavailableError`."""
        options: OnlineStoreOptions = config.online_store
        patience_s = options.write_timeout_ms / 1000
        try:
            client = redis_client(options, connect_timeout_s=patience_s, timeout_s=patience_s)
            with closing(client):
                yield client
        except RedisError as error:
            raise self.transport(options).said(error) from error

    def delete_table(self, config: Any, table: Any) -> None:
        """Delete all rows of a view."""
        with self.scanning(config) as client:
            delete_fields(client, table.join_keys, config.project, _fields_of(config, table))

    def measure_table(self, config: Any, table: Any) -> RowMemory:
        """The rows of a view, and the memory that they take."""
        fields, stamp = (
            _fields_of(config, table),
            timestamp_field(_versioned_fv_name(table, config)),
        )
        with self.scanning(config) as client:
            return measure_rows(client, table.join_keys, config.project, fields, stamp)

    def delete_entity_values(self, config: Any, join_keys: list[str]) -> None:
        """Delete all rows of all entities with these join keys."""
        with self.scanning(config) as client:
            delete_entities(client, join_keys, config.project)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Delete all rows of the views' entities, and close the connections."""
        super().teardown(config, tables, entities)
        self.disconnect()

    async def close(self) -> None:
        """Feast's call when it is done with a store (see `disconnect`)."""
        await asyncio.to_thread(self.disconnect)

    def disconnect(self) -> None:
        """Close the connections; a later use opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
            client, self._client = self._client, None
        if opened is not None:
            opened.close()
        if client is not None:
            client.close()


def _fields_of(config: Any, table: Any) -> list[bytes]:
    """The hash fields of a view's rows."""
    stored = _versioned_fv_name(table, config)
    fields = [feature_field(stored, field.name) for field in table.features]
    return [*fields, timestamp_field(stored), created_field(stored)]
