"""The newest rows of users and items as tables of the online views that follow live events."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from feast_fusion.column_names import vector_view
from feast_fusion.times import TIMESTAMP
from serving.live.departures import Departures
from serving.live.followed_encoders import FollowedEncoders
from serving.live.live_entity import LiveEntity
from serving.live.prepared_history import PreparedHistory
from transformations import names
from transformations.running_activity import RunningUser
from transformations.schema import ITEM_STATS, USER_RECENT, USER_STATS, VECTOR

_INTEREST = pa.schema(
    [("user_id", pa.string()), ("event_timestamp", TIMESTAMP), (names.USER_INTEREST, VECTOR)]
)

# Writes the rows of one view; a row that is not newer than the stored row must be left out.
WriteRows = Callable[[str, pa.Table], None]


@dataclass(frozen=True)
class LiveRows:
    """The rows of users and items in the online views.

    Attributes
    ----------
    encoders : of the interest vectors
    departures : is told whose rows are written; None where users never leave
    """

    write_view: WriteRows
    encoders: FollowedEncoders
    departures: Departures | None = None

    def write(self, history: PreparedHistory, changed: Sequence[LiveEntity]) -> None:
        """Write the newest row of each entity to each of its views.

        history : on top of which the entities are

        Users who were forgotten have no row.
        """
        forgotten = history.forgotten
        changed = [e for e in changed if not (_is_user(e) and e.key.entity_id in forgotten)]
        if self.departures is not None:
            self.departures.note([each.key.entity_id for each in changed if _is_user(each)])
        followed = history.encoder_ids & self.encoders.by_id.keys()
        gone = history.withdrawn
        shown = [each for each in changed if _is_user(each) or each.key.entity_id not in gone]
        for view, table in row_tables(shown, history.items.ids, followed).items():
            if len(table):
                self.write_view(view, table)
        for each in changed:
            each.written = each.statistics.stamp


def _is_user(entity: LiveEntity) -> bool:
    return entity.key.kind == "user"


def row_tables(
    entities: Sequence[LiveEntity], item_ids: pa.Array, encoder_ids: Iterable[str]
) -> dict[str, pa.Table]:
    """By view of `names.LIVE_VIEWS` its rows; one view of interest for each encoder."""
    users = [each for each in entities if _is_user(each)]
    items = [each for each in entities if not _is_user(each)]
    tables = {
        names.ITEM_STATS: _table(items, ITEM_STATS, [each.statistics.row() for each in items]),
        names.USER_STATS: _table(users, USER_STATS, [each.statistics.row() for each in users]),
        names.USER_RECENT: _recent_table(users, item_ids),
    }
    for encoder_id in encoder_ids:
        vectors = [[each.interests[encoder_id].state] for each in users]
        tables[vector_view(names.USER_INTEREST, encoder_id)] = _table(users, _INTEREST, vectors)
    return tables


def _recent_table(users: Sequence[LiveEntity], item_ids: pa.Array) -> pa.Table:
    recent: list[Sequence[Any]] = []
    for user in users:
        assert isinstance(user.statistics, RunningUser)
        recent.append(user.statistics.recent_row())
    coded = USER_RECENT.set(2, pa.field("item_ids", pa.list_(pa.int64())))
    table = _table(users, coded, recent)
    lists = table["item_ids"].combine_chunks()
    named = pa.ListArray.from_arrays(lists.offsets, item_ids.take(lists.values))
    return table.set_column(table.column_names.index("item_ids"), "item_ids", named)


def _table(
    entities: Sequence[LiveEntity], schema: pa.Schema, features: Sequence[Sequence[Any]]
) -> pa.Table:
    """Key, event_timestamp, features in the order of `schema`, and when the row became known."""
    columns = list(zip(*features, strict=True)) or [() for _ in schema.names[2:]]
    kinds = [field.type for field in schema][2:]
    arrays = [
        pa.array([each.key.entity_id for each in entities], pa.string()),
        _times([each.statistics.stamp for each in entities]),
        *(pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)),
        _times([each.seen for each in entities]),
    ]
    return pa.table(arrays, names=[*schema.names, "created"])


def _times(micros: Sequence[int]) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(TIMESTAMP)
