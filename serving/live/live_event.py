"""What becomes of one event on its way online: it counts, or it does not and why."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from intake.event import Event
from transformations.running_activity import Occurrence

# What identifies a preparation: (modified, inode) of its manifest.
Stamp = tuple[int, int]


class LiveEvent(NamedTuple):
    """An event that counts beside the prepared ones.

    Attributes
    ----------
    event : as it is journaled
    occurrence : as it is replayed
    stamp : the preparation that decided both, and whose code of the item the occurrence has
    """

    event: Event
    occurrence: Occurrence
    stamp: Stamp


@dataclass(frozen=True)
class Outcome:
    """What became of one event.

    Attributes
    ----------
    status : "accepted": it is in the journal; "duplicate": its event_id was there already;
        "rejected": it cannot be used
    event_id : the client's, else a new one; None where it was rejected without one
    reason : why it was rejected, in the same words as in the rejects files; else None
    """

    status: Literal["accepted", "duplicate", "rejected"]
    event_id: str | None
    reason: str | None = None
