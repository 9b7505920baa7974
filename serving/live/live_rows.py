"""The newest rows of users and items as tables of the online views that follow live events."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from feast_fusion.column_names import vector_view
from feast_fusion.times import TIMESTAMP
from serving.live.live_entity import LiveRow
from transformations import names
from transformations.running_activity import RunningUser
from transformations.schema import ITEM_STATS, USER_RECENT, USER_STATS, VECTOR

_INTEREST = pa.schema(
    [("user_id", pa.string()), ("event_timestamp", TIMESTAMP), (names.USER_INTEREST, VECTOR)]
)


def row_tables(
    rows: Sequence[LiveRow], item_ids: pa.Array, encoder_id: str | None
) -> dict[str, pa.Table]:
    """By view its rows: item_stats, user_stats, user_recent and the interest of an `encoder_id`.

    item_ids : the ids of all items, by their codes
    """
    items = [row for row in rows if row.key.kind == "item"]
    users = [row for row in rows if row.key.kind == "user"]
    tables = {
        names.ITEM_STATS: _table(items, ITEM_STATS, [row.statistics.row() for row in items]),
        names.USER_STATS: _table(users, USER_STATS, [row.statistics.row() for row in users]),
        names.USER_RECENT: _recent_table(users, item_ids),
    }
    if encoder_id is not None:
        states = [[row.interest and row.interest.state] for row in users]
        tables[vector_view(names.USER_INTEREST, encoder_id)] = _table(users, _INTEREST, states)
    return tables


def _recent_table(rows: Sequence[LiveRow], item_ids: pa.Array) -> pa.Table:
    recent: list[Sequence[Any]] = []
    for row in rows:
        assert isinstance(row.statistics, RunningUser)
        recent.append(row.statistics.recent_row())
    coded = USER_RECENT.set(2, pa.field("item_ids", pa.list_(pa.int64())))
    table = _table(rows, coded, recent)
    lists = table["item_ids"].combine_chunks()
    named = pa.ListArray.from_arrays(lists.offsets, item_ids.take(lists.values))
    return table.set_column(table.column_names.index("item_ids"), "item_ids", named)


def _table(
    rows: Sequence[LiveRow], schema: pa.Schema, features: Sequence[Sequence[Any]]
) -> pa.Table:
    """Key, event_timestamp and created of each row, and its features in the order of `schema`."""
    columns = list(zip(*features, strict=True)) or [() for _ in schema.names[2:]]
    arrays = [
        pa.array([row.key.entity_id for row in rows], pa.string()),
        _times([row.stamp for row in rows]),
        *(
            pa.array(column, field.type)
            for column, field in zip(columns, list(schema)[2:], strict=True)
        ),
        _times([row.created for row in rows]),
    ]
    return pa.table(arrays, names=[*schema.names, "created"])


def _times(micros: Sequence[int]) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(TIMESTAMP)
