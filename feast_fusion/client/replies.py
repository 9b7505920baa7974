"""What the service answers, as checked objects; what a newer service adds is left out."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Reason(_Reply):
    """One reason for an item's place, in words that can be shown."""

    kind: str
    text: str
    value: float | None
    item_id: str | None


class RankedItem(_Reply):
    """One item; the fields are those of the service, see its /docs."""

    item_id: str
    title: str | None
    score: float | None
    liked: float | None
    sources: tuple[str, ...]
    features: str
    cold: bool
    reasons: tuple[Reason, ...]
    columns: dict[str, Any] | None
    outcomes: dict[str, float | None] | None
    propensity: float | None


class Understood(_Reply):
    """A value that a query was taken to ask for; the fields are those of the service."""

    column: str
    value: str
    sense: str
    by: str


class Recommendations(_Reply):
    """Best item first. `degraded` says that the answer lacks something, `reasons` what."""

    user_id: str
    items: tuple[RankedItem, ...]
    n_candidates: int
    user: str
    degraded: bool
    reasons: tuple[str, ...]
    latency_ms: float
    portrait: str | None
    model: str | None
    understood: tuple[Understood, ...]
    is_chance: bool


class SimilarItem(_Reply):
    """An item near to another or to a text, with the cosine of their vectors."""

    item_id: str
    title: str | None
    cosine: float


class SimilarItems(_Reply):
    """Nearest first."""

    items: tuple[SimilarItem, ...]


class ItemRecord(_Reply):
    """An item as the service has it now; see its /docs."""

    item: dict[str, Any]
    attributes: dict[str, Any]
    statistics: dict[str, Any]
    title: str | None
    is_available: bool
    is_encoded: bool


class PastEvent(_Reply):
    """One event of a user, as it counts."""

    item_id: str
    title: str | None
    value: float | None
    positive: bool
    event_timestamp: datetime
    columns: dict[str, Any]


class UserHistory(_Reply):
    """The newest event first."""

    user_id: str
    user: str
    events: tuple[PastEvent, ...]


class Outcome(_Reply):
    """What became of one event."""

    status: Literal["accepted", "duplicate", "rejected"]
    event_id: str | None
    reason: str | None


class RowOutcome(_Reply):
    """What became of one posted item or user; `field` is the one at fault."""

    status: Literal["accepted", "duplicate", "rejected"]
    id: str | None
    reason: str | None
    field: str | None


class RowSubmission(_Reply):
    """What became of each row, in their order, and whether answers follow them already."""

    outcomes: tuple[RowOutcome, ...]
    applied: bool


class Submission(_Reply):
    """What became of each event, in their order, and whether they are in the features already."""

    outcomes: tuple[Outcome, ...]
    applied: bool
