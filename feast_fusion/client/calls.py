"""The calls of the service: what is sent, and what the answer becomes."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from feast_fusion.client.replies import (
    ItemRecord,
    Recommendations,
    RowSubmission,
    SimilarItems,
    Submission,
    UserHistory,
)

ReplyT = TypeVar("ReplyT", bound=BaseModel)
Context = Mapping[str, str | float | None]
Item = str | Mapping[str, Any]


@dataclass(frozen=True)
class Call(Generic[ReplyT]):
    """One request, which may be sent twice: events have ids, and equal rows are one version.

    Attributes
    ----------
    body : as JSON; None where the path says all
    reply : what the answer is checked against
    """

    path: str
    body: Mapping[str, Any] | None
    reply: type[ReplyT]
    method: str = "POST"


def recommend(
    user_id: str,
    n: int,
    query: str | None,
    filter: str | None,
    exclude: Iterable[str],
    explain: bool,
    debug: bool,
    context: Context | None,
    variety: Mapping[str, Any] | None,
    objective: Mapping[str, float] | None,
    model: str | None,
    session: Iterable[Item],
) -> Call[Recommendations]:
    """See `Client.recommend`."""
    visit = [*map(_item, session)]
    asked = {"query": query, "filter": filter, "context": context, "session": visit}
    said = {"explain": explain, "debug": debug}
    orders = {"objective": objective or {}, "model": model, **(variety or {})}
    body = {"user_id": user_id, "n": n, "exclude": [*exclude], **asked, **said, **orders}
    return Call("/recommend", body, Recommendations)


def rank(
    user_id: str,
    item_ids: Sequence[str],
    query: str | None,
    explain: bool,
    debug: bool,
    context: Context | None,
    session: Iterable[Item],
) -> Call[Recommendations]:
    """See `Client.rank`."""
    body = {"user_id": user_id, "item_ids": [*item_ids], "session": [*map(_item, session)]}
    asked = {"query": query, "explain": explain, "debug": debug, "context": context}
    return Call("/rank", {**body, **asked}, Recommendations)


def similar(
    item_id: str | None, text: str | None, n: int, filter: str | None
) -> Call[SimilarItems]:
    """See `Client.similar`."""
    body = {"item_id": item_id, "text": text, "n": n, "filter": filter}
    return Call("/similar", body, SimilarItems)


def item(item_id: str) -> Call[ItemRecord]:
    """See `Client.item`."""
    return Call(f"/items/{quote(item_id, safe='')}", None, ItemRecord, "GET")


def history(user_id: str, n: int) -> Call[UserHistory]:
    """See `Client.history`."""
    return Call(f"/users/{quote(user_id, safe='')}/history?n={n}", None, UserHistory, "GET")


def send_events(events: Iterable[Mapping[str, Any]], wait_ms: int) -> Call[Submission]:
    """See `Client.send_events`."""
    return Call("/events", {"events": [*map(_whole, events)], "wait_ms": wait_ms}, Submission)


def post_items(items: Iterable[Mapping[str, Any]], wait_ms: int) -> Call[RowSubmission]:
    """See `Client.post_items`."""
    body = {"items": [*map(_with_text_times, items)], "wait_ms": wait_ms}
    return Call("/items", body, RowSubmission)


def post_users(users: Iterable[Mapping[str, Any]], wait_ms: int) -> Call[RowSubmission]:
    """See `Client.post_users`."""
    body = {"users": [*map(_with_text_times, users)], "wait_ms": wait_ms}
    return Call("/users", body, RowSubmission)


def patch_item(item_id: str, changes: Mapping[str, Any], wait_ms: int) -> Call[RowSubmission]:
    """See `Client.patch_item`."""
    body = {"changes": _with_text_times(changes), "wait_ms": wait_ms}
    return Call(f"/items/{quote(item_id, safe='')}", body, RowSubmission, "PATCH")


def delete_item(item_id: str, wait_ms: int) -> Call[RowSubmission]:
    """See `Client.delete_item`."""
    path = f"/items/{quote(item_id, safe='')}?wait_ms={wait_ms}"
    return Call(path, None, RowSubmission, "DELETE")


def _with_text_times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in row.items()
    }


def _whole(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with an id, by which it counts once though it is sent twice, and with a time."""
    found = {"event_id": uuid.uuid4().hex, "event_timestamp": datetime.now(UTC), **event}
    return _with_text_times(found)


def _item(visited: Item) -> str | dict[str, Any]:
    return visited if isinstance(visited, str) else _with_text_times(visited)
