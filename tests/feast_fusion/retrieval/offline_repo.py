"""A Feast repository in a folder, on one of the two offline stores, with an online SQLite."""

from pathlib import Path
from typing import Any

from feast import FeatureStore
from feast.repo_config import RegistryConfig, RepoConfig

OURS = "feast_fusion.point_in_time.PointInTimeOfflineStore"
STOCK = "duckdb"


def make_store(
    folder: Path, objects: list[Any], offline: str = OURS, **options: Any
) -> FeatureStore:
    """The store with `objects` applied; `options` go to the offline store's configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    store = FeatureStore(
        config=RepoConfig(
            project="shop",
            provider="local",
            registry=RegistryConfig(path=str(folder / "registry.db")),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": offline, **options},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
    )
    if objects:
        store.apply(objects)
    return store
