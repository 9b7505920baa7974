"""Rows of several views, read in one round trip and decoded to columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feast_fusion.online.codec.entity_keys import encode_keys
from feast_fusion.online.codec.time_values import decode_timestamps, warn_of_unreadable_rows
from feast_fusion.online.codec.value_decoding import Column, Ragged
from feast_fusion.online.read_plan import KeyGroup, ViewPlan
from feast_fusion.online.redis.transport import Read, ReadGroup, Reply


@dataclass(frozen=True)
class ViewRows:
    """One view's rows of n entities, in the order asked for.

    Attributes
    ----------
    columns : by the names of the plan; (n,) scalars, (n, d) vectors, `Ragged` lists
    valid : (n,) bool per column, False where the value is null, and where `present` is False
    event_timestamps : (n,) datetime64[us], NaT where there is no row
    present : (n,) bool, whether there is a row that has not expired
    expired : (n,) bool, whether there is a row older than the view's ttl allows
    """

    plan: ViewPlan
    columns: dict[str, Column]
    valid: dict[str, NDArray[np.bool_]]
    event_timestamps: NDArray[np.datetime64]
    present: NDArray[np.bool_]
    expired: NDArray[np.bool_]

    def alone(self, row: int) -> "ViewRows":
        """One of the rows."""
        if len(self.present) == 1:
            return self
        rows = np.array([row])
        return ViewRows(
            self.plan,
            {name: scatter(column, rows) for name, column in self.columns.items()},
            {name: valid[rows] for name, valid in self.valid.items()},
            self.event_timestamps[rows],
            self.present[rows],
            self.expired[rows],
        )


def read_views(
    read: Read, project: str, wanted: Sequence[tuple[KeyGroup, Sequence[Sequence[Any]]]]
) -> list[list[ViewRows]]:
    """The views of each key group, for the distinct entities given as one column per join key.

    Raises
    ------
    SchemaError
        A key is not of its type, or a stored value not of its feature's.
    StoreUnavailableError
        Redis cannot be read.
    """
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    answers = read_replies(read, project, wanted)
    return [
        decode_group(group, replies, now)
        for (group, _), replies in zip(wanted, answers, strict=True)
    ]


def read_replies(
    read: Read, project: str, wanted: Sequence[tuple[KeyGroup, Sequence[Sequence[Any]]]]
) -> list[list[Reply]]:
    """The stored fields of each entity, for `decode_group`; raises as `read_views`."""
    return read(
        [
            ReadGroup(encode_keys(group.join_keys, columns, group.types, project), group.fields)
            for group, columns in wanted
        ]
    )


def decode_group(group: KeyGroup, replies: Sequence[Reply], now: np.datetime64) -> list[ViewRows]:
    """The views of replies to HMGET of the group's fields, one reply per entity."""
    width = sum(len(view.stored) for view in group.views)
    stored: list[tuple[bytes | None, ...]] = list(zip(*replies, strict=True)) or [()] * width
    rows, at = [], 0
    for view in group.views:
        rows.append(_decode_view(view, stored[at : at + len(view.stored)], now))
        at += len(view.stored)
    return rows


def _decode_view(
    view: ViewPlan, stored: Sequence[tuple[bytes | None, ...]], now: np.datetime64
) -> ViewRows:
    times = decode_timestamps(stored[-1])
    known = ~np.isnat(times)
    if not known.all():
        _warn_of_unreadable(view.name, [s for s, k in zip(stored[-1], known, strict=True) if not k])
    expired = np.zeros(len(times), dtype=bool)
    if view.ttl is not None:
        expired = known & (times < now - np.timedelta64(view.ttl))
    present = known & ~expired
    columns, valid = {}, {}
    for name, decoder, values in zip(view.columns, view.decoders, stored[:-1], strict=True):
        if not present.all():  # also what an expired or unfinished row still holds
            values = tuple(v if p else None for v, p in zip(values, present, strict=True))
        columns[name], valid[name] = decoder.column(values)
    return ViewRows(view, columns, valid, times, present, expired)


def _warn_of_unreadable(view: str, stamps: Sequence[bytes | None]) -> None:
    if n_rows := sum(stamp is not None for stamp in stamps):
        warn_of_unreadable_rows(view, n_rows)


def distinct(columns: Sequence[Sequence[Any]]) -> tuple[list[list[Any]], NDArray[np.int64] | None]:
    """The distinct entities, and for each row which; None where no row repeats.

    `columns` holds one column per join key.
    """
    if len(columns) == 1:
        position = {value: at for at, value in enumerate(dict.fromkeys(columns[0]))}
        if len(position) == len(columns[0]):
            return [list(columns[0])], None
        return [list(position)], _positions(position, columns[0])
    rows = list(zip(*columns, strict=True))
    position = {row: at for at, row in enumerate(dict.fromkeys(rows))}
    if len(position) == len(rows):
        return [list(column) for column in columns], None
    return [list(column) for column in zip(*position, strict=True)], _positions(position, rows)


def _positions(position: dict[Any, int], rows: Sequence[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(position.__getitem__, rows), dtype=np.int64, count=len(rows))


def scatter(column: Column, index: NDArray[np.int64] | None) -> Column:
    """The rows of a column that `index` points to."""
    if index is None:
        return column
    return column.take(index) if isinstance(column, Ragged) else column[index]
