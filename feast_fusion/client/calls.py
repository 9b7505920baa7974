"""The calls of the service: what is sent, and what the answer becomes."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from feast_fusion.client.replies import Recommendations, SimilarItems, Submission

ReplyT = TypeVar("ReplyT", bound=BaseModel)
Context = Mapping[str, str | float | None]


@dataclass(frozen=True)
class Call(Generic[ReplyT]):
    """One POST, which may be sent twice: only events change anything, and those have ids.

    Attributes
    ----------
    body : as JSON
    reply : what the answer is checked against
    """

    path: str
    body: Mapping[str, Any]
    reply: type[ReplyT]


def recommend(
    user_id: str,
    n: int,
    query: str | None,
    filter: str | None,
    exclude: Iterable[str],
    explain: bool,
    context: Context | None,
    variety: Mapping[str, Any] | None,
) -> Call[Recommendations]:
    """See `Client.recommend`."""
    asked = {"query": query, "filter": filter, "explain": explain, "context": context}
    body = {"user_id": user_id, "n": n, "exclude": [*exclude], **asked, **(variety or {})}
    return Call("/recommend", body, Recommendations)


def rank(
    user_id: str,
    item_ids: Sequence[str],
    query: str | None,
    explain: bool,
    context: Context | None,
) -> Call[Recommendations]:
    """See `Client.rank`."""
    body = {"item_ids": [*item_ids], "query": query, "explain": explain, "context": context}
    return Call("/rank", {"user_id": user_id, **body}, Recommendations)


def similar(
    item_id: str | None, text: str | None, n: int, filter: str | None
) -> Call[SimilarItems]:
    """See `Client.similar`."""
    body = {"item_id": item_id, "text": text, "n": n, "filter": filter}
    return Call("/similar", body, SimilarItems)


def send_events(events: Iterable[Mapping[str, Any]], wait_ms: int) -> Call[Submission]:
    """See `Client.send_events`."""
    return Call("/events", {"events": [*map(_whole, events)], "wait_ms": wait_ms}, Submission)


def _whole(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with an id, by which it counts once though it is sent twice, and with a time."""
    found = {"event_id": uuid.uuid4().hex, "event_timestamp": datetime.now(UTC), **event}
    at = found["event_timestamp"]
    return {**found, "event_timestamp": at.isoformat() if isinstance(at, datetime) else at}
