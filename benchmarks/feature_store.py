"""A Feast repository to measure, and vectors for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureStore, Field
from feast.repo_config import RegistryConfig, RepoConfig
from feast.types import Array, Float32
from numpy.typing import NDArray


def new_store(
    repo: Path, online: dict[str, Any], objects: Sequence[Any], **config: Any
) -> FeatureStore:
    """A Feast repository in the folder `repo` in which `objects` are applied.

    Parameters
    ----------
    online : options of the online store
    config : other parts of `feature_store.yaml`
    """
    repo.mkdir(exist_ok=True)
    options = {"project": "bench", "offline_store": {"type": "duckdb"}} | config
    registry = RegistryConfig(path=str(repo / f"{options['project']}.db"), cache_ttl_seconds=3600)
    store = FeatureStore(
        config=RepoConfig(
            provider="local",
            registry=registry,
            online_store=online,
            entity_key_serialization_version=3,
            repo_path=repo,
            **options,
        )
    )
    store.apply([*objects])
    return store


def vector_field(name: str, width: int) -> Field:
    """A vector feature."""
    return Field(name=name, dtype=Array(Float32), vector_index=True, vector_length=width)


def unit_vectors(rng: np.random.Generator, n: int, width: int) -> pa.ListArray:
    """`n` random lists of `width` float32 numbers, each of length 1."""
    vectors: NDArray[np.float32] = rng.standard_normal((n, width), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1)))
