"""One row of an item or a user, as it is journaled, and a table of such rows."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from intake.record_format import Key, RecordFormat
from intake.tombstones import Tombstones

Table = Literal["items", "users"]
# put: a new version, whole; patch: the newest version with some columns changed; delete: withdrawn
Change = Literal["put", "patch", "delete"]

KEYS: dict[Table, str] = {"items": "item_id", "users": "user_id"}

ROWS = pa.schema(
    [
        ("row_id", pa.string()),
        ("table", pa.string()),
        ("key", pa.string()),
        ("change", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("received", TIMESTAMP),
        ("values", pa.string()),
    ]
)


class PostedRow(NamedTuple):
    """A row in the order of `ROWS`; its times are microseconds since the epoch, UTC.

    Attributes
    ----------
    key : id of the item or user
    time : from when it holds
    values : the given columns as JSON, as they were given
    """

    row_id: str
    table: Table
    key: str
    change: Change
    time: int
    received: int
    values: str


def _keys_of(row: PostedRow) -> tuple[Key]:
    return ((row.table.removesuffix("s"), row.key),)


ROW_FORMAT = RecordFormat(PostedRow, ROWS, _keys_of)


def known_rows(rows: Iterable[PostedRow], forgotten: Tombstones) -> list[PostedRow]:
    """The rows but those of users who were forgotten."""
    return [row for row in rows if row.table != "users" or row.key not in forgotten]
