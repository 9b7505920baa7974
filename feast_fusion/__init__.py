"""Feast plug-ins for embeddings, and the encoder that makes them: what a user imports.

Names of this module are public; everything else of the package may change. Each name is imported
at its first use, so that `import feast_fusion` is quick and needs neither feast nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_fusion.encoding.column import embed_column
    from feast_fusion.encoding.encoder import load_encoder
    from feast_fusion.encoding.vector_cache import VectorCache
    from feast_fusion.errors import (
        EncoderMismatchError,
        FeastFusionError,
        FeatureNotFoundError,
        MissingExtraError,
        NotOfferedError,
        SchemaError,
        StoreUnavailableError,
    )
    from feast_fusion.history_engine import HistoryEngine
    from feast_fusion.point_in_time import PointInTimeOfflineStore
    from feast_fusion.redis_matrix import MatrixRedisOnlineStore, read_online
    from feast_fusion.training_set import TrainingSet

__all__ = [
    "EncoderMismatchError",
    "FeastFusionError",
    "FeatureNotFoundError",
    "HistoryEngine",
    "MatrixRedisOnlineStore",
    "MissingExtraError",
    "NotOfferedError",
    "PointInTimeOfflineStore",
    "SchemaError",
    "StoreUnavailableError",
    "TrainingSet",
    "VectorCache",
    "embed_column",
    "load_encoder",
    "read_online",
]

_MODULES = {
    "HistoryEngine": "history_engine",
    "MatrixRedisOnlineStore": "redis_matrix",
    "PointInTimeOfflineStore": "point_in_time",
    "TrainingSet": "training_set",
    "VectorCache": "encoding.vector_cache",
    "embed_column": "encoding.column",
    "load_encoder": "encoding.encoder",
    "read_online": "redis_matrix",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
