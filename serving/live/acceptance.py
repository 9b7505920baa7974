"""What became of the events of one call."""

from concurrent.futures import Future
from dataclasses import dataclass

from serving.live.live_event import Outcome


@dataclass(frozen=True)
class Acceptance:
    """The outcome of each event, and what is done when all accepted ones are in the online store.

    Where there is no room to wait for that in memory, it is never done.
    """

    outcomes: list[Outcome]
    applied: "Future[None]"


@dataclass(frozen=True)
class Submission:
    """The outcome of each event, and whether all accepted events are in the online store by now."""

    outcomes: list[Outcome]
    applied: bool
