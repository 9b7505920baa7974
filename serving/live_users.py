"""What live events say of users, as far as answers ask."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import pyarrow as pa

from feast_fusion.errors import schema_error
from intake.event import Event
from transformations.embedder import Embedder


def _no_visits(user_id: str, visit: Sequence[Event]) -> Mapping[str, pa.Table]:
    raise schema_error(
        "session",
        got="items of a visit, and no live events to put them beside",
        expected="a recommender of the service",
        remedy="Ask feast-fusion serve.",
    )


@dataclass(frozen=True)
class LiveUsers:
    """Without live events nobody has any.

    Attributes
    ----------
    acted_on : items that the user has acted on since the last prepare; the prepared history and the
        user's recent items are known in any case
    known_since : how new the user's row of recent items is at least, as event time in microseconds;
        None where no live event has made one
    note_loss : called with a user whose row was missing or older than that, and whether the user
        had left
    is_behind : whether any row may be older than the live events; asked after rows were read
    follow : told how to read the stamp of the preparation that answers are made from. A newer one
        is not taken up before: events that it has would be neither live nor in an answer.
    rows_after : by view the row that the user would have after the events of a visit, see
        `serving.live.visit_rows`
    interest_of : while it is open, the interest vectors of that encoder follow live events; they
        have done so when it opens
    is_forgotten : whether nothing may be known of the user any more
    """

    acted_on: Callable[[str], Iterable[str]] = lambda user_id: ()
    known_since: Callable[[str], int | None] = lambda user_id: None
    note_loss: Callable[[str, bool], object] = lambda user_id, has_left: None
    is_behind: Callable[[], bool] = lambda: False
    follow: Callable[[Callable[[], tuple[int, int] | None]], None] = lambda prepared: None
    interest_of: Callable[[Embedder], AbstractContextManager[None]] = lambda embedder: nullcontext()
    is_forgotten: Callable[[str], bool] = lambda user_id: False
    rows_after: Callable[[str, Sequence[Event]], Mapping[str, pa.Table]] = _no_visits
