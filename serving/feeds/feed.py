"""What a feed gives: rows with their places, a batch at a time, each until it is taken in."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

BATCH_ROWS = 1_000


@dataclass(frozen=True)
class FedRow:
    """One row of a feed.

    Attributes
    ----------
    place : where it stands there, for people
    event : as `EventIntake.accept` takes it; of a row with a defect what could be read
    defect : why it is no event; None where it may be one
    """

    place: str
    event: Mapping[str, Any]
    defect: str | None = None


@dataclass(frozen=True)
class Batch:
    """Rows that are taken in together.

    Attributes
    ----------
    done : called once all of them are kept: a feed that begins anew begins behind them
    """

    rows: Sequence[FedRow]
    done: Callable[[], None]


class Feed(Protocol):
    """Where events come from. A row may come again: its event has the same event_id then."""

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """Batches until `stop` is set or, where the feed is not followed, until its end."""
