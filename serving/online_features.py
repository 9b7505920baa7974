"""The features of one user and some items, read from the online store at request time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from feast import FeatureStore, FeatureView, Field
from feast.types import from_feast_to_pyarrow_type
from numpy.typing import NDArray

from feast_fusion.feature_service import encoder_of, logical_name, open_service
from feast_fusion.training_set import Indexed, TrainingSet
from transformations.schema import TIMESTAMP

Values = Mapping[str, list[Any]]


@dataclass(frozen=True)
class UserFeatures:
    """One user's values by `view__feature`, each a list of one."""

    user_id: str
    values: Values

    def vector(self, feature: str) -> NDArray[np.float32] | None:
        """The (d,) vector feature of that name, None when the user has none."""
        for name, column in self.values.items():
            if logical_name(name) == feature and column[0] is not None:
                return np.asarray(column[0], dtype=np.float32)
        return None


class OnlineFeatures:
    """Reads what a feature service names, in the form the ranker was trained on."""

    def __init__(self, store: FeatureStore, service: str) -> None:
        self._store = store
        self._fields: dict[str, Field] = {}
        self._references: dict[str, list[str]] = {"user_id": [], "item_id": []}
        feature_service = open_service(store, service)
        self.encoder_id = encoder_of(feature_service)
        for projection in feature_service.feature_view_projections:
            view = store.get_feature_view(projection.name)
            self._declare(view, projection.features)

    def _declare(self, view: FeatureView, features: Sequence[Field]) -> None:
        (key,) = view.join_keys
        for field in features:
            self._references[key].append(f"{view.name}:{field.name}")
            self._fields[f"{view.name}__{field.name}"] = field

    @property
    def dimension(self) -> int:
        """Width of the service's vectors, 0 when it has none."""
        return max((field.vector_length for field in self._fields.values()), default=0)

    def read_user(self, user_id: str) -> "UserFeatures":
        """What the online store knows of a user; every value None for an unknown one."""
        return UserFeatures(user_id, self._read("user_id", [user_id]))

    def rows(self, user: "UserFeatures", item_ids: Sequence[str], now: datetime) -> TrainingSet:
        """One row per item, each with the user's features, as of `now`.

        A feature that the store does not have is null, or has the index -1.
        """
        n = len(item_ids)
        columns: dict[str, pa.Array] = {
            "user_id": pa.array([user.user_id] * n, pa.string()),
            "item_id": pa.array(item_ids, pa.string()),
            "event_timestamp": pa.array([now] * n, TIMESTAMP),
        }
        vectors: dict[str, Indexed] = {}
        lists: dict[str, Indexed] = {}
        items = self._read("item_id", list(item_ids))
        each, first = np.arange(n), np.zeros(n, dtype=np.int64)
        for values, at in ((user.values, first), (items, each)):
            for name, column in values.items():
                field = self._fields[name]
                kind = from_feast_to_pyarrow_type(field.dtype)
                if not pa.types.is_list(kind):
                    columns[logical_name(name)] = pa.array(column, kind).take(pa.array(at))
                elif field.vector_index:
                    vectors[logical_name(name)] = _matrix(column, field.vector_length, at)
                else:
                    lists[logical_name(name)] = _ragged(column, kind, at)
        return TrainingSet(pa.table(columns), vectors, lists)

    def _read(self, key: str, ids: list[str]) -> Values:
        """Values by `view__feature`, one per id; None where absent (PRESENT means nothing)."""
        read = self._store.get_online_features(
            features=self._references[key],
            entity_rows=[{key: value} for value in ids],
            full_feature_names=True,
        ).to_dict()
        return {name: values for name, values in read.items() if name != key}


def _matrix(column: list[Any], width: int, at: NDArray[np.int64]) -> Indexed:
    known = [row for row, value in enumerate(column) if value is not None]
    matrix = np.array([column[row] for row in known], dtype=np.float32).reshape(len(known), width)
    return Indexed(matrix, _numbered(known, len(column))[at])


def _ragged(column: list[Any], kind: pa.DataType, at: NDArray[np.int64]) -> Indexed:
    known = [row for row, value in enumerate(column) if value is not None]
    values = pa.array([column[row] for row in known], kind)
    return Indexed(values, _numbered(known, len(column))[at])


def _numbered(known: list[int], n: int) -> NDArray[np.int32]:
    index = np.full(n, -1, dtype=np.int32)
    index[known] = np.arange(len(known), dtype=np.int32)
    return index
