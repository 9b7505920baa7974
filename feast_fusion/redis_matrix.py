"""A Feast online store on Redis that reads straight into numpy, and fails fast.

`online_store: {type: feast_fusion.redis_matrix.MatrixRedisOnlineStore, connection_string: ...}` in
any Feast repository. It extends Feast's own Redis store and keeps its layout, so either reads what
the other wrote; options of the stock store keep their meaning. `read_online` is the fast way to
read; everything of Feast (`get_online_features`, `feast serve`, `materialize`, `push`) works too.

Beside the stock layout each row carries its created timestamp in one more hash field, which stock
readers never ask for: a row replaces another only if (event timestamp, created timestamp) is
newer, so a re-embedding of an unchanged event takes effect; or if the other was written before the
view had its schema (see `online.redis.newest_row`).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal

import pyarrow as pa
from feast import FeatureStore
from feast.online_response import OnlineResponse

from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.online.cache.cached_reads import CachedReads
from feast_fusion.online.codec.value_decoding import Ragged
from feast_fusion.online.entity_columns import EntityColumns, OnlineFeatures, gather_features
from feast_fusion.online.feast_answer import answer
from feast_fusion.online.feature_request import FeatureRequest, redis_key
from feast_fusion.online.options import OnlineStoreOptions
from feast_fusion.online.proto_rows import read_rows
from feast_fusion.online.read_plan import Features, KeyGroup, ReadPlan, ReadPlans
from feast_fusion.online.reader import ViewRows, read_replies, read_views
from feast_fusion.online.redis.connected_store import ConnectedRedisStore
from feast_fusion.online.redis.transport import Read, Reply
from feast_fusion.online.refusals import RefusedRequestError
from feast_fusion.online.row_writer import RowWriter
from feast_fusion.online.search.documents import Document, DocumentSearch

__all__ = [
    "MatrixRedisOnlineStore",
    "MatrixRedisOnlineStoreConfig",
    "OnlineFeatures",
    "Ragged",
    "online_store_of",
    "read_online",
]


class MatrixRedisOnlineStoreConfig(OnlineStoreOptions):
    """`OnlineStoreOptions`, which lists them, under the name that Feast looks for."""

    type: Literal["feast_fusion.redis_matrix.MatrixRedisOnlineStore"] = (
        "feast_fusion.redis_matrix.MatrixRedisOnlineStore"
    )


class MatrixRedisOnlineStore(ConnectedRedisStore):
    """Feast's Redis store with vectorised reads and writes (see the module)."""

    def __init__(self) -> None:
        super().__init__()
        self._cached: CachedReads | None = None
        self._writer: RowWriter | None = None
        self._search: DocumentSearch | None = None
        self._plans = ReadPlans()

    # -- reading --

    def read_plan(
        self, config: Any, registry: Any, features: Features, *, full_feature_names: bool
    ) -> ReadPlan:
        """The plan of a request, kept until the registry is read anew."""
        return self._plans.plan(config, registry, features, full_feature_names=full_feature_names)

    def read_views(
        self, config: Any, wanted: Sequence[tuple[KeyGroup, Sequence[Sequence[Any]]]]
    ) -> list[list[ViewRows]]:
        """Rows of distinct entities, one round trip for all (see `online.reader.read_views`)."""
        return read_views(self._reads(config), config.project, wanted)

    def read_replies(
        self, config: Any, wanted: Sequence[tuple[KeyGroup, Sequence[Sequence[Any]]]]
    ) -> list[list[Reply]]:
        """The same rows as stored, for `online.reader.decode_group`.

        A row of the item cache is the same object at each read, until the row changes.
        """
        return read_replies(self._reads(config), config.project, wanted)

    def online_read(
        self,
        config: Any,
        table: Any,
        entity_keys: list[Any],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """Feast's read of one view: (event timestamp, values) per entity, values None where absent.

        An expired row has its event timestamp and no values.
        """
        names = requested_features or [field.name for field in table.features]
        keys = [redis_key(key, config) for key in entity_keys]
        [(_, rows)] = read_rows(self._reads(config), config, [(table, names, keys)])
        return [(row.timestamp, None if row.expired else row.values or None) for row in rows]

    async def online_read_async(self, *args: Any, **kwargs: Any) -> Any:
        """`online_read` in a thread."""
        return await asyncio.to_thread(self.online_read, *args, **kwargs)

    def get_online_features(
        self,
        config: Any,
        features: Any,
        entity_rows: Any,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:
        """Feast's read of entity rows (see `online.feast_answer.answer`).

        A service with `precompute_online` is answered from its rows like any other: they come in
        one exchange, and are never older than what is stored. The option gains nothing here, and
        Feast scans all keys for it after each push: leave it off.
        """
        request = FeatureRequest.resolve(
            registry, project, features, entity_rows, full_feature_names
        )
        return answer(
            request,
            self._reads(config),
            config,
            full_names=full_feature_names,
            with_version=include_feature_view_version_metadata,
        )

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """`get_online_features` in a thread."""
        return await asyncio.to_thread(self.get_online_features, *args, **kwargs)

    def write_precomputed_vector(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a service with `precompute_online` is answered from its rows."""

    def retrieve_online_documents_v2(
        self,
        config: Any,
        table: Any,
        requested_features: list[str],
        embedding: list[float] | None,
        top_k: int,
        distance_metric: str | None = None,
        query_string: str | None = None,
        filters: Any = None,
        include_feature_view_version_metadata: bool = False,
    ) -> list[Document]:
        """The `top_k` rows whose vectors are nearest (see `online.search.documents`).

        Raises
        ------
        RefusedRequestError
            A text or filters are given, or `DocumentSearch.search` refuses the request.
        """
        if query_string is not None or filters is not None:
            raise RefusedRequestError(
                f"Feature view {table.name!r}: got a query_string or filters, expected a vector. "
                "Redis has no index of texts: encode the text, and filter what is found."
            )
        read = self.transport(config.online_store).read
        with self._lock:
            if self._search is None:
                self._search = DocumentSearch(config, partial(self.scanning, config), read)
            search = self._search
        return search.search(table, requested_features, embedding, top_k, distance_metric)

    def _reads(self, config: Any) -> Read:
        transport = self.transport(config.online_store)
        cached = self.cached_reads(config)
        return transport.read if cached is None else cached.read

    def cached_reads(self, config: Any) -> CachedReads | None:
        """The item cache, None where none is configured."""
        options: OnlineStoreOptions = config.online_store
        if not options.cache_mb:
            return None
        transport = self.transport(options)
        with self._lock:
            if self._cached is None:
                self._cached = CachedReads(
                    transport,
                    self._get_client(options),
                    options.cache_join_keys,
                    options.cache_mb << 20,
                )
            return self._cached

    # -- writing --

    def write_table(self, config: Any, view: Any, table: pa.Table) -> None:
        """Write the rows of `table`; a row that is not newer than the stored row is left out.

        Parameters
        ----------
        table : the view's join keys, features, timestamp and, where it has one, created timestamp

        Raises
        ------
        SchemaError
            A vector has a wrong width or a value that is not finite, or a key is null.
        StoreUnavailableError
            Redis cannot be written.
        """
        self._row_writer(config).write_table(view, table)

    def online_write_batch(
        self,
        config: Any,
        table: Any,
        data: list[Any],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Feast's write of rows given as messages (see `write_table`)."""
        self._row_writer(config).write_rows(table, data)
        if progress:
            progress(len(data))

    async def online_write_batch_async(self, *args: Any, **kwargs: Any) -> None:
        """`online_write_batch` in a thread."""
        await asyncio.to_thread(self.online_write_batch, *args, **kwargs)

    def _row_writer(self, config: Any) -> RowWriter:
        transport = self.transport(config.online_store)
        with self._lock:
            if self._writer is None:
                self._writer = RowWriter(transport, config)
            return self._writer

    # -- connections --

    def disconnect(self) -> None:
        """Close the connections; a later use opens them again."""
        with self._lock:
            self._writer = self._search = None
            cached, self._cached = self._cached, None
        if cached is not None:
            cached.close()
        super().disconnect()


def read_online(
    store: FeatureStore,
    features: Features,
    entities: EntityColumns,
    *,
    full_feature_names: bool = False,
) -> OnlineFeatures:
    """Features of entity rows as numpy columns, fetched in one round trip.

    Parameters
    ----------
    features : a registered FeatureService, or "view:feature" references
    entities : one column of n values per join key; a repeated entity is fetched once
    full_feature_names : name columns "view__feature" instead of "feature"

    Raises
    ------
    FeatureNotFoundError
        A feature is not registered or computed on demand, or a join key is missing or unknown.
    SchemaError
        Entity columns differ in length or type, or a stored value is not of its feature's type.
    StoreUnavailableError
        Redis does not answer in time.
    """
    online_store = online_store_of(store)
    plan = online_store.read_plan(
        store.config, store.registry, features, full_feature_names=full_feature_names
    )
    return gather_features(plan, entities, partial(online_store.read_views, store.config))


def online_store_of(store: FeatureStore) -> MatrixRedisOnlineStore:
    """The online store of a repository that uses this plug-in.

    Raises
    ------
    FeatureNotFoundError
        The repository has another online store.
    """
    found = store._get_provider().online_store
    if not isinstance(found, MatrixRedisOnlineStore):
        raise FeatureNotFoundError(
            f"online_store of {store.project!r}: got {type(found).__name__}, expected "
            "MatrixRedisOnlineStore. Set online_store type in feature_store.yaml to "
            "feast_fusion.redis_matrix.MatrixRedisOnlineStore."
        )
    return found
