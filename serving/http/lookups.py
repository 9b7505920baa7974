"""What a person looks up: an item, a user's history, users by the beginning of their ids."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_json
from starlette.responses import Response

from serving.http.body import MAX_ID_CHARACTERS, Count, Identifier
from serving.http.overload import within
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings
from serving.item_record import read_item
from serving.served_models import ServedModels
from serving.user_history import read_history
from serving.user_search import UserSearch

_THREADS = 1  # people are few, and slow; users are searched by one thread
_MAX_USERS = 20

Prefix = Annotated[str, StringConstraints(max_length=MAX_ID_CHARACTERS)]


class FoundUser(BaseModel):
    """A user of the data set's tables, of posted rows or of events."""

    user_id: str
    n_items: int = Field(description="Distinct items that the user has had an event with.")


class FoundUsers(BaseModel):
    """The shortest ids first, at most 20."""

    users: list[FoundUser]


class Lookups:
    """The routes' functions."""

    def __init__(
        self,
        models: ServedModels,
        search: UserSearch,
        settings: ServiceSettings,
        metrics: ServiceMetrics,
    ) -> None:
        self._models, self._search = models, search
        self._deadline_s = settings.deadline_ms / 1000
        self._reading = metrics.new_queue("lookups", _THREADS)

    async def close(self) -> None:
        """What was taken on is finished before this returns."""
        await asyncio.to_thread(self._reading.close)

    async def item(self, item_id: Identifier) -> Response:
        """The newest columns of an item, its statistics, and whether it may be recommended."""
        models = self._models
        return await self._found(
            lambda: read_item(models.catalogue, models.main.features, item_id, datetime.now(UTC))
        )

    async def history(self, user_id: Identifier, n: Annotated[Count, Query()] = 50) -> Response:
        """The user's newest events, live ones too; the newest first."""
        models = self._models
        return await self._found(
            lambda: read_history(
                models.catalogue, models.main.features, user_id, n, datetime.now(UTC)
            )
        )

    async def users(self, prefix: Annotated[Prefix, Query()] = "") -> Response:
        """Users whose id begins so, those of events that were just accepted too."""

        def find() -> FoundUsers:
            found = self._search.beginning(prefix, _MAX_USERS)
            return FoundUsers(users=[FoundUser(user_id=each, n_items=n) for each, n in found])

        return await self._found(find)

    async def _found(self, read: Callable[[], object]) -> Response:
        def answer() -> bytes:
            return to_json(read(), inf_nan_mode="null")

        body = await within(self._reading, self._deadline_s, answer)
        return Response(body, media_type="application/json")
