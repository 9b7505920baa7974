"""The route by which a person is forgotten."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, Response

from serving.http.body import Identifier
from serving.http.overload import within
from serving.http.service_metrics import ServiceMetrics

_THREADS = 1  # they wait for the disk


class Removal(BaseModel):
    """How far forgetting a user is.

    "accepted": it is on disk, and goes on in the background; "forgotten": nothing is left.
    """

    status: Literal["accepted", "forgotten"]
    found: bool | None = Field(
        default=None, description="Whether anything was kept of the user; null until it is known."
    )
    person: str = Field(description="A keyed digest of the id, by which the receipt is named.")
    receipt: dict[str, Any] | None = Field(
        default=None, description="What was erased and searched, and which models stay."
    )


# Takes a user who is to be forgotten, durably, and says how far it is; may be repeated.
Remove = Callable[[str], Removal]


class Removals:
    """The route's function."""

    def __init__(self, remove: Remove, metrics: ServiceMetrics) -> None:
        self._remove = remove
        self._taking = metrics.new_queue("removals", _THREADS)

    async def close(self) -> None:
        """What was taken on is finished before this returns."""
        await asyncio.to_thread(self._taking.close)

    async def forget(self, user_id: Identifier) -> Response:
        """All that is kept of a user is erased: the request is on disk when this answers.

        Asked again it says how far it is, and at last has the receipt.
        """
        removal = await within(self._taking, None, partial(self._remove, user_id))
        return JSONResponse(removal.model_dump(), 200 if removal.status == "forgotten" else 202)
