"""What a language model wrote of a user, for those who ask why: now, or at an instant."""

from datetime import datetime

import pyarrow as pa
from feast import FeatureStore

from feast_fusion.column_names import feature_column
from feast_fusion.redis_matrix import read_online
from feast_fusion.times import TIMESTAMP
from intake.writer_settings import PORTRAIT
from training.retrieval import build_rows_of
from transformations.names import PORTRAIT_SERVICE, USER_PORTRAIT


class Portraits:
    """Portraits of users, read only when asked for: they are in no feature row and in no log."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        services = {service.name: service for service in store.list_feature_services()}
        self._service = services.get(PORTRAIT_SERVICE)

    def now(self, user_id: str) -> str | None:
        """The newest one, None without. Raises StoreUnavailableError as `read_online`."""
        if self._service is None:
            return None
        found = read_online(self._store, self._service, {"user_id": [user_id]})
        return str(found.columns[PORTRAIT][0]) if found.valid[PORTRAIT][0] else None

    def as_of(self, user_id: str, at: datetime) -> str | None:
        """The one that was known at an instant."""
        if self._service is None:
            return None
        spine = pa.table({"user_id": [user_id], "event_timestamp": pa.array([at], TIMESTAMP)})
        rows = build_rows_of(self._store, PORTRAIT_SERVICE, spine)
        text: str | None = rows.table[feature_column(USER_PORTRAIT, PORTRAIT)][0].as_py()
        return text
