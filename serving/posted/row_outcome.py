"""What became of the rows of one call."""

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class RowOutcome:
    """What became of one row.

    Attributes
    ----------
    status : "accepted": it is in the journal; "duplicate": it was there already, or the item was
        withdrawn before; "rejected": it cannot be used
    id : of the item or user; None where it was rejected without one
    reason : why it was rejected; else None
    field : which of its fields is at fault; None where none is alone
    """

    status: Literal["accepted", "duplicate", "rejected"]
    id: str | None
    reason: str | None = None
    field: str | None = None


@dataclass(frozen=True)
class RowAcceptance:
    """The outcome of each row, and what is done when answers follow all that were accepted."""

    outcomes: list[RowOutcome]
    applied: "Future[None]"


@dataclass(frozen=True)
class RowSubmission:
    """The outcome of each row, and whether answers follow all that were accepted by now."""

    outcomes: list[RowOutcome]
    applied: bool
