"""The client for asyncio."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from feast_fusion.client import calls
from feast_fusion.client.calls import Call, Context, Item, ReplyT
from feast_fusion.client.refusal import ServiceError, wait_s
from feast_fusion.client.replies import (
    ItemRecord,
    PastEvent,
    Recommendations,
    RowSubmission,
    SimilarItem,
    Submission,
)
from feast_fusion.client.transport import away, named, options, read
from feast_fusion.errors import extra_required

with extra_required("client"):
    import httpx2


class AsyncClient:
    """The calls of `Client`, awaited; safe for many tasks. Of `async with`, or `close` it."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = 10.0, retries: int = 2
    ) -> None:
        self._http = httpx2.AsyncClient(**options(url, api_key, timeout_s))
        self._url, self._retries = url, retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def recommend(
        self,
        user_id: str,
        n: int = 10,
        *,
        query: str | None = None,
        filter: str | None = None,
        exclude: Iterable[str] = (),
        explain: bool = False,
        debug: bool = False,
        context: Context | None = None,
        variety: Mapping[str, Any] | None = None,
        objective: Mapping[str, float] | None = None,
        model: str | None = None,
        session: Iterable[Item] = (),
        request_id: str | None = None,
    ) -> Recommendations:
        """The `n` items of the catalogue that the user will like most, best first.

        `variety` has any of `diversity`, `calibrated`, `max_per` and `explore`, `objective` of
        `satisfaction` and `value`; `model` is a promoted version or the shadow: see /docs.
        `session` : of this visit, the newest last: ids, or events as those of `send_events` without
        user and event_id. They count for this answer and are kept nowhere.
        """
        return await self._ask(
            calls.recommend(
                user_id,
                n,
                query,
                filter,
                exclude,
                explain,
                debug,
                context,
                variety,
                objective,
                model,
                session,
            ),
            request_id,
        )

    async def rank(
        self,
        user_id: str,
        item_ids: Sequence[str],
        *,
        query: str | None = None,
        explain: bool = False,
        debug: bool = False,
        context: Context | None = None,
        session: Iterable[Item] = (),
        request_id: str | None = None,
    ) -> Recommendations:
        """The given items in the order in which the user will like them."""
        call = calls.rank(user_id, item_ids, query, explain, debug, context, session)
        return await self._ask(call, request_id)

    async def similar(
        self,
        *,
        item_id: str | None = None,
        text: str | None = None,
        n: int = 10,
        filter: str | None = None,
        request_id: str | None = None,
    ) -> tuple[SimilarItem, ...]:
        """The nearest items to an item or to a text, one of which is given."""
        return (await self._ask(calls.similar(item_id, text, n, filter), request_id)).items

    async def item(self, item_id: str, *, request_id: str | None = None) -> ItemRecord:
        """The newest columns of an item, its statistics, and whether it may be recommended."""
        return await self._ask(calls.item(item_id), request_id)

    async def history(
        self, user_id: str, n: int = 50, *, request_id: str | None = None
    ) -> tuple[PastEvent, ...]:
        """The user's newest events, live ones too; the newest first."""
        return (await self._ask(calls.history(user_id, n), request_id)).events

    async def send_events(
        self,
        events: Iterable[Mapping[str, Any]],
        *,
        wait_ms: int = 0,
        request_id: str | None = None,
    ) -> Submission:
        """Interactions that happened: on disk when this returns, then in the features.

        Each has user_id and item_id, and may have event_timestamp (now without one), event_id (a
        new one without), event_type, value and context. `wait_ms` : for the features, at most.
        """
        return await self._ask(calls.send_events(events, wait_ms), request_id)

    async def post_items(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        wait_ms: int = 0,
        request_id: str | None = None,
    ) -> RowSubmission:
        """New versions of items, whole: on disk when this returns, then in the answers.

        Each has item_id and columns of the data set, and may have event_timestamp, from when it
        holds. `wait_ms` : for the answers, at most.
        """
        return await self._ask(calls.post_items(items, wait_ms), request_id)

    async def patch_item(
        self,
        item_id: str,
        changes: Mapping[str, Any],
        *,
        wait_ms: int = 0,
        request_id: str | None = None,
    ) -> RowSubmission:
        """A new version of an item: the newest with some columns changed."""
        return await self._ask(calls.patch_item(item_id, changes, wait_ms), request_id)

    async def delete_item(
        self, item_id: str, *, wait_ms: int = 0, request_id: str | None = None
    ) -> RowSubmission:
        """Withdraw an item: it is in no answer any more, and what was stays for training."""
        return await self._ask(calls.delete_item(item_id, wait_ms), request_id)

    async def post_users(
        self,
        users: Iterable[Mapping[str, Any]],
        *,
        wait_ms: int = 0,
        request_id: str | None = None,
    ) -> RowSubmission:
        """New versions of users, whole; see `post_items`."""
        return await self._ask(calls.post_users(users, wait_ms), request_id)

    async def _ask(self, call: Call[ReplyT], request_id: str | None) -> ReplyT:
        for attempt in range(self._retries + 1):
            is_last, after = attempt == self._retries, None
            try:
                answer = await self._http.request(
                    call.method, call.path, json=call.body, headers=named(request_id)
                )
            except httpx2.TransportError as error:
                if is_last:
                    raise away(self._url, error) from error
            else:
                found = read(call, answer)
                if not isinstance(found, ServiceError):
                    return found
                if is_last or not found.may_pass:
                    raise found
                after = answer.headers.get("retry-after")
            await asyncio.sleep(wait_s(attempt, after))
        raise AssertionError("the last attempt returns or raises")
