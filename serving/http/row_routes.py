"""The functions of the routes for posted items and users."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.tracing import span
from intake.given_values import GivenError
from intake.posted.posted_row import Table
from serving.http.body import Identifier
from serving.http.problems import ProblemError
from serving.http.requests import MAX_WAIT_MS, ChangesRequest, ItemsRequest, UsersRequest
from serving.http.service_metrics import ServiceMetrics
from serving.http.settings import ServiceSettings
from serving.http.work_queue import DeadlineExceededError
from serving.posted.row_intake import RowIntake
from serving.posted.row_outcome import RowAcceptance

_THREADS = 2  # they wait for the disk


class RowRoutes:
    """The routes' functions: on disk when they answer, in the answers at once after that."""

    def __init__(
        self, intake: RowIntake, settings: ServiceSettings, metrics: ServiceMetrics
    ) -> None:
        self._intake, self._metrics = intake, metrics
        self._begin_s = settings.event_deadline_ms / 1000
        self._taking = metrics.new_queue("rows", _THREADS)
        metrics.watch_rows(intake)

    async def close(self) -> None:
        """What was taken on is finished before this returns."""
        await asyncio.to_thread(self._taking.close)

    async def post_items(self, body: ItemsRequest) -> Response:
        """New versions of items, whole: soon found, ranked and recommended."""
        return await self._take(
            "items", partial(self._intake.put, "items", body.items), body.wait_ms
        )

    async def post_users(self, body: UsersRequest) -> Response:
        """New versions of users, whole."""
        return await self._take(
            "users", partial(self._intake.put, "users", body.users), body.wait_ms
        )

    async def patch_item(self, item_id: Identifier, body: ChangesRequest) -> Response:
        """A new version of an item: the newest with some columns changed."""
        call = partial(self._intake.patch, "items", item_id, body.changes)
        return await self._take("items", call, body.wait_ms)

    async def patch_user(self, user_id: Identifier, body: ChangesRequest) -> Response:
        """A new version of a user: the newest with some columns changed."""
        call = partial(self._intake.patch, "users", user_id, body.changes)
        return await self._take("users", call, body.wait_ms)

    async def delete_item(
        self, item_id: Identifier, wait_ms: Annotated[int, Query(ge=0, le=MAX_WAIT_MS)] = 0
    ) -> Response:
        """The item is in no answer from now on; what was, stays for training."""
        return await self._take("items", partial(self._intake.delete, item_id), wait_ms)

    async def _take(
        self, table: Table, call: Callable[[], RowAcceptance], wait_ms: int
    ) -> Response:
        taken = await self._taken(call)
        self._metrics.add_rows(table, Counter(each.status for each in taken.outcomes))
        if all(outcome.status == "rejected" for outcome in taken.outcomes):
            raise _nothing_accepted(table, taken)
        if wait_ms and not taken.applied.done():
            await asyncio.wait([asyncio.wrap_future(taken.applied)], timeout=wait_ms / 1000)
        outcomes = [vars(outcome) for outcome in taken.outcomes]
        answer = {"outcomes": outcomes, "applied": taken.applied.done()}
        # not by pydantic: a rejected id may be half of a surrogate pair
        return Response(json.dumps(answer), media_type="application/json")

    async def _taken(self, call: Callable[[], RowAcceptance]) -> RowAcceptance:
        try:
            # Not begun is not written, so a client may try again; what has begun is waited for.
            return await self._taking.run(
                None, partial(self._journaled, call), begin_s=self._begin_s
            )
        except GivenError as error:
            field = "body.changes" + (f".{error.field}" if error.field else "")
            problem = {"field": field, "detail": str(error)}
            raise ProblemError(422, f"{field}: {error}.", errors=[problem]) from None
        except DeadlineExceededError as error:
            detail = f"The answer was {error}: the service is overloaded. Try again later."
            raise ProblemError(503, detail, headers={"Retry-After": "1"}) from None

    def _journaled(self, call: Callable[[], RowAcceptance]) -> RowAcceptance:
        try:
            with span("journal"):
                return call()
        except StoreUnavailableError:
            self._metrics.add_unwritten()
            raise


def _nothing_accepted(table: Table, taken: RowAcceptance) -> ProblemError:
    errors = [
        {
            "field": f"body.{table}.{at}" + (f".{outcome.field}" if outcome.field else ""),
            "detail": str(outcome.reason),
        }
        for at, outcome in enumerate(taken.outcomes)
    ]
    detail = f"No row was accepted. {errors[0]['field']}: {errors[0]['detail']}."
    return ProblemError(422, detail, errors=errors)
