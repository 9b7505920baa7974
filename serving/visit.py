"""What a user did on this visit, as a request tells it: it counts and is kept nowhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from feast_fusion.column_names import vector_view
from feast_fusion.online.codec.value_decoding import Column, Ragged
from feast_fusion.online.reader import ViewRows
from feast_fusion.times import to_micros
from intake.event import Event
from serving.online_features import UserFeatures

MAX_ITEMS = 200
_SECOND_US = 1_000_000


class Visited(NamedTuple):
    """One item of a visit.

    Attributes
    ----------
    at : None where nobody says: a second before the item that follows, or now
    """

    item_id: str
    event_type: str | None = None
    value: float | None = None
    at: datetime | None = None


def visit_events(user_id: str, visit: Sequence[Visited], now: datetime) -> list[Event]:
    """The events that the items of a visit stand for, in their order; the newest is the last.

    >>> from datetime import UTC
    >>> now = datetime(2026, 1, 1, tzinfo=UTC)
    >>> two = visit_events("u", [Visited("a"), Visited("b")], now)
    >>> [(event.item_id, (event.time - to_micros(now)) // 1_000_000) for event in two]
    [('a', -2), ('b', -1)]
    """
    received, n = to_micros(now), len(visit)
    return [
        Event(
            event_id=f"visit {place:03d}",
            user_id=user_id,
            item_id=each.item_id,
            time=received - (n - place) * _SECOND_US if each.at is None else to_micros(each.at),
            value=each.value,
            event_type=each.event_type,
            received=received,
        )
        for place, each in enumerate(visit)
    ]


def with_visit(
    user: UserFeatures, rows: Mapping[str, pa.Table], encoder_id: str | None
) -> UserFeatures:
    """The features of a user, those of some views as they are after a visit.

    Parameters
    ----------
    rows : by view one row, as it would be written to the online store
    encoder_id : whose vectors the features have, under names without it
    """
    views = []
    for view in user.views:
        name = view.plan.name
        of_encoder = name if encoder_id is None else vector_view(name, encoder_id)
        row = rows.get(of_encoder, rows.get(name))
        views.append(view if row is None else _replaced(view, row))
    return replace(user, views=views, stored=user)


def _replaced(view: ViewRows, row: pa.Table) -> ViewRows:
    columns: dict[str, Column] = {}
    valid = {}
    for name in view.columns:
        value = row[name.rpartition("__")[2]].combine_chunks()
        columns[name], valid[name] = (
            _column(view.columns[name], value),
            np.asarray(value.is_valid()),
        )
    stamp = row["event_timestamp"].to_numpy().astype("datetime64[us]")
    there = np.ones(1, dtype=bool)
    return replace(
        view,
        columns=columns,
        valid=valid,
        event_timestamps=stamp,
        present=there,
        expired=~there,
    )


def _column(before: Column, value: pa.Array) -> Column:
    """One value in the form of the column that it replaces."""
    if isinstance(before, Ragged):
        items = np.asarray(value.flatten()).astype(before.values.dtype)
        return Ragged(items, np.array([0, len(items)]))
    if before.ndim == 2:
        if value.null_count:
            return before
        return np.asarray(value.flatten(), before.dtype)[None]
    return np.asarray(value.fill_null(0), before.dtype)
