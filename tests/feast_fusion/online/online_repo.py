"""One Feast repository on two online stores that share a Redis: Feast's own, and ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import RegistryConfig, RepoConfig
from feast.type_map import python_values_to_proto_values
from feast.types import FeastType

from cli.redis_process import RunningRedis
from feast_fusion.redis_matrix import MatrixRedisOnlineStore

OURS = "feast_fusion.redis_matrix.MatrixRedisOnlineStore"
# A busy machine may keep a healthy Redis silent for longer than the defaults allow.
PATIENT = {"connect_timeout_ms": 5_000, "read_timeout_ms": 5_000, "deadline_ms": 20_000}
NOW = datetime.now(UTC).replace(microsecond=0)


def open_store(
    folder: Path, server: RunningRedis, online: Mapping[str, Any], project: str = "shop"
) -> FeatureStore:
    """A store on `folder`'s registry with the given online store options."""
    folder.mkdir(parents=True, exist_ok=True)
    return FeatureStore(
        config=RepoConfig(
            project=project,
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db"), cache_ttl_seconds=3600),
            online_store={"connection_string": server.connection, **online},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )


@dataclass(frozen=True)
class Pair:
    """The two stores; `apply` makes both know the same objects."""

    stock: FeatureStore
    ours: FeatureStore

    def apply(self, *objects: Any) -> None:
        self.ours.apply(list(objects))
        self.stock.refresh_registry()
        self.ours.refresh_registry()

    def close(self) -> None:
        online(self.ours).disconnect()
        client = self.stock._get_provider().online_store._client
        if client is not None:
            client.close()


def open_pair(folder: Path, server: RunningRedis, **options: Any) -> Pair:
    stock = open_store(folder, server, {"type": "redis"})
    return Pair(stock, open_store(folder, server, {"type": OURS, **PATIENT, **options}))


def online(store: FeatureStore) -> MatrixRedisOnlineStore:
    found = store._get_provider().online_store
    assert isinstance(found, MatrixRedisOnlineStore)
    return found


def view_of(
    name: str,
    entities: Sequence[Entity],
    keys: Mapping[str, FeastType],
    features: Sequence[Field],
    *,
    ttl: timedelta = timedelta(0),
) -> FeatureView:
    """A view whose source is never read: rows are written online by the tests."""
    source = FileSource(name=f"{name}_rows", path="rows.parquet", timestamp_field="at")
    columns = [Field(name=key, dtype=kind) for key, kind in keys.items()]
    return FeatureView(
        name=name, entities=list(entities), ttl=ttl, schema=[*columns, *features], source=source
    )


Row = tuple[Mapping[str, Any], Mapping[str, Any], datetime, datetime | None]


def write(store: FeatureStore, view: FeatureView, rows: Sequence[Row]) -> None:
    """Write (key, features, event timestamp, created timestamp) rows through Feast's own call."""
    key_types = {field.name: field.dtype.to_value_type() for field in view.entity_columns}
    types = {field.name: field.dtype.to_value_type() for field in view.features}
    provider = store._get_provider()
    provider.online_store.online_write_batch(
        store.config,
        view,
        [
            (
                EntityKey(
                    join_keys=list(key),
                    entity_values=[
                        python_values_to_proto_values([value], key_types[name])[0]
                        for name, value in key.items()
                    ],
                ),
                {name: _proto(value, types[name]) for name, value in features.items()},
                at,
                created,
            )
            for key, features, at, created in rows
        ],
        None,
    )


def _proto(value: Any, kind: Any) -> ValueProto:
    if value is None:
        return ValueProto()
    found: ValueProto = python_values_to_proto_values([value], kind)[0]
    return found
