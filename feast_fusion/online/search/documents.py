"""`retrieve_online_documents_v2`: the rows whose vectors are nearest to a query.

The vectors of a view are held in this process and brought in step with Redis when they are older
than `search_refresh_s`. What is found is then read from Redis like any rows, and its distance is
that of the vector read: only whether a row is among the candidates can be so much out of date.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from feast import Field
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.infra.online_stores.redis import _versioned_fv_name
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as ValueProto

from feast_fusion.online.codec.entity_keys import SERIALIZATION_VERSION
from feast_fusion.online.codec.value_decoding import decoder_of, is_vector
from feast_fusion.online.entity_scan import scan_entities
from feast_fusion.online.proto_rows import read_rows
from feast_fusion.online.read_plan import created_field, feature_field, timestamp_field
from feast_fusion.online.redis.transport import Read, ReadGroup, Reply
from feast_fusion.online.refusals import RefusedRequestError
from feast_fusion.online.search.distances import Metric, Query
from feast_fusion.online.search.held_vectors import HeldVectors
from feast_fusion.online.search.nearest import NearestRows

Document = tuple[datetime | None, EntityKey, dict[str, ValueProto]]

RANK = "__rank"
_READ_AT_ONCE = 200
_SPARE = 16  # candidates beyond twice what was asked for: some may be gone when they are read


@dataclass
class _Held:
    """The vectors of one view, and when they were in step with Redis."""

    vectors: HeldVectors
    nearest: NearestRows
    lock: threading.Lock
    refreshed_at: float = float("-inf")


class DocumentSearch:
    """Searches the views of one store; safe for many threads.

    Parameters
    ----------
    config : Feast's `RepoConfig`
    scanning : lends a client of redis-py, for a scan of keys
    read : of the store's own connections
    """

    def __init__(
        self, config: Any, scanning: Callable[[], AbstractContextManager[Any]], read: Read
    ) -> None:
        self._config, self._scanning, self._read = config, scanning, read
        self._lock = threading.Lock()
        self._views: dict[tuple[str, str, int], _Held] = {}

    def search(
        self,
        view: Any,
        names: Sequence[str],
        embedding: Sequence[float] | None,
        k: int,
        metric: Any,
    ) -> list[Document]:
        """The `k` nearest rows of a view, nearest first, with a feature `distance`.

        Feast sorts what a store returns by entity before it gives each entity its features, so a
        join key `__rank` (0 is the nearest) comes before the view's own.

        Raises
        ------
        RefusedRequestError
            The view has no vector with `vector_index` and `vector_length`, or the query is not of
            its width; or the metric is unknown.
        StoreUnavailableError
            Redis cannot be read.
        """
        field = _vector_field(view)
        query = Query(_checked(embedding, field, view), Metric.named(metric))
        held = self._held(view, field)
        ttl = getattr(view, "ttl", None) or None
        oldest = np.datetime64(datetime.now(UTC).replace(tzinfo=None) - ttl, "us") if ttl else None
        with held.lock:
            self._refresh(view, held)
            rows = held.nearest.search(query, 2 * k + _SPARE, oldest)
            keys = [held.vectors.keys[row] for row in rows]
        return self._documents(view, names, field, query, keys)[:k]

    def _held(self, view: Any, field: Field) -> _Held:
        stored = _versioned_fv_name(view, self._config)
        with self._lock:
            held = self._views.get((stored, field.name, field.vector_length))
            if held is None:
                vectors = HeldVectors(
                    decoder_of(stored, field),
                    feature_field(stored, field.name),
                    timestamp_field(stored),
                    created_field(stored),
                )
                exact = self._config.online_store.search_exact_rows
                held = _Held(vectors, NearestRows(vectors, exact), threading.Lock())
                self._views[stored, field.name, field.vector_length] = held
        return held

    def _refresh(self, view: Any, held: _Held) -> None:
        due = held.refreshed_at + self._config.online_store.search_refresh_s
        if time.monotonic() < due:
            return
        started = time.monotonic()
        with self._scanning() as client:
            stored = scan_entities(client, view.join_keys, self._config.project)
            held.vectors.refresh(stored, self._fields)
        held.refreshed_at = started

    def _fields(self, keys: list[bytes], fields: list[bytes]) -> list[Reply]:
        replies: list[Reply] = []
        for at in range(0, len(keys), _READ_AT_ONCE):
            [part] = self._read([ReadGroup(keys[at : at + _READ_AT_ONCE], fields)])
            replies += part
        return replies

    def _documents(
        self, view: Any, names: Sequence[str], field: Field, query: Query, keys: list[bytes]
    ) -> list[Document]:
        wanted = list(dict.fromkeys([*names, field.name]))
        [(_, rows)] = read_rows(self._read, self._config, [(view, wanted, keys)])
        found = [
            (key, row, np.array(row.values[field.name].float_list_val.val, np.float32))
            for key, row in zip(keys, rows, strict=True)
            if row.values.get(field.name)
        ]
        if not found:
            return []
        distances = query.distances(np.stack([vector for _, _, vector in found]))
        order = np.argsort(distances, kind="stable")
        documents = []
        for rank, at in enumerate(order.tolist()):
            key, row, _ = found[at]
            values = {name: row.values[name] for name in names if name in row.values}
            values["distance"] = ValueProto(float_val=float(distances[at]))
            documents.append((row.timestamp, self._ranked(rank, key), values))
        return documents

    def _ranked(self, rank: int, key: bytes) -> EntityKey:
        entity = deserialize_entity_key(
            key[: -len(self._config.project.encode())], SERIALIZATION_VERSION
        )
        return EntityKey(
            join_keys=[RANK, *entity.join_keys],
            entity_values=[ValueProto(int64_val=rank), *entity.entity_values],
        )


def _vector_field(view: Any) -> Field:
    found = [field for field in view.features if is_vector(field)]
    if len(found) != 1:
        raise RefusedRequestError(
            f"Feature view {view.name!r}: got {len(found)} vectors, expected one feature of "
            "Array(Float32) with vector_index=True and a vector_length. Declare it so."
        )
    return found[0]


def _checked(embedding: Sequence[float] | None, field: Field, view: Any) -> Any:
    what = f"Feature view {view.name!r}, query"
    if embedding is None:
        raise RefusedRequestError(
            f"{what}: got no vector, expected {field.vector_length} numbers. This store searches "
            "by vectors only: encode the text, and pass it as query."
        )
    vector = np.asarray(embedding, dtype=np.float32)
    if vector.shape != (field.vector_length,) or not np.isfinite(vector).all():
        raise RefusedRequestError(
            f"{what}: got {vector.shape} numbers, expected {field.vector_length} finite ones, as "
            f"{field.name!r} has. Encode the query with the encoder of the view."
        )
    return vector
