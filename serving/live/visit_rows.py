"""The newest rows of a user as they would be after a visit, of which nothing is written."""

from collections.abc import Sequence

import pyarrow as pa

from intake.event import Event
from serving.live.live_entity import LiveEntity
from serving.live.live_features import LiveFeatures
from serving.live.live_log import LiveKey
from serving.live.live_rows import row_tables


def visit_rows(features: LiveFeatures, user_id: str, visit: Sequence[Event]) -> dict[str, pa.Table]:
    """By view of users one row, after the prepared events, the live ones and those of a visit.

    They are derived as those of live events are. Events of a visit that cannot count are left out;
    without any that counts nothing comes back.
    """
    history = features.history
    visited = history.visited(visit)
    if not visited:
        return {}
    live = [*features.occurrences(user_id, history), *visited]
    user = LiveEntity(history, LiveKey("user", user_id), live=live)
    tables = row_tables([user], history.items.ids, history.encoder_ids)
    return {view: table for view, table in tables.items() if len(table)}
