"""Which posted rows can be used, and why the others cannot, before they are journaled."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.parquet.whole import read_parquet, read_schema
from feast_fusion.times import to_micros
from intake.event_bounds import defect_of_time
from intake.given_values import GivenError, kind_of, read_key, read_time
from intake.journal_index import JournalIndex
from intake.posted.posted_columns import PostedColumns
from intake.posted.posted_row import KEYS, ROW_FORMAT, Change, PostedRow, Table
from intake.posted.posted_versions import is_withdrawn
from intake.screening import FORGOTTEN
from intake.tables.section import TableSection
from intake.tombstones import Tombstones
from intake.workspace import Workspace

_TIME = "event_timestamp"


class RowScreening:
    """Reads rows by the columns that the prepared sources have. Safe for many threads.

    All methods raise FeatureNotFoundError where the data set has no such table.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._index = JournalIndex(workspace.posted, ROW_FORMAT)
        self._forgotten = Tombstones(workspace.forgotten)
        self._columns: tuple[object, dict[Table, PostedColumns]] = (None, {})

    def put(self, table: Table, given: object, now: datetime) -> PostedRow:
        """A whole row: its key, columns, and from when it holds, which is now if it is not said.

        Raises
        ------
        GivenError
            It cannot be used.
        """
        if not isinstance(given, Mapping):
            raise GivenError(f"got {kind_of(given)}, expected an object")
        values = {str(n): v for n, v in given.items() if n not in (KEYS[table], _TIME)}
        columns = self.columns(table)
        columns.require_known(values)  # first: a misspelt key is missing too
        key = read_key(given, KEYS[table])
        self._refuse_forgotten(table, key)
        columns.read(values, is_whole=True)
        return _row(table, key, "put", values, now, given.get(_TIME))

    def patch(self, table: Table, key: str, changes: Mapping[str, Any], now: datetime) -> PostedRow:
        """A change of some columns from now on.

        Raises
        ------
        GivenError
            A value cannot be used.
        FeatureNotFoundError
            There is no such item or user.
        """
        self._refuse_forgotten(table, key)
        self._require(table, key)
        self.columns(table).read(changes, is_whole=False)
        return _row(table, key, "patch", changes, now)

    def _refuse_forgotten(self, table: Table, key: str) -> None:
        if table == "users" and key in self._forgotten:
            raise GivenError(FORGOTTEN)

    def delete(self, key: str, now: datetime) -> PostedRow | None:
        """The withdrawal of an item from now on; None where it is withdrawn already.

        Raises
        ------
        FeatureNotFoundError
            There never was such an item.
        """
        is_there = self._is_there("items", key)
        if is_there is None:
            raise _unknown("items", key)
        return _row("items", key, "delete", {}, now) if is_there else None

    def columns(self, table: Table) -> PostedColumns:
        """Of a table, as it was prepared last."""
        stamp = self._workspace.read_stamp()
        if stamp is None or self._columns[0] != stamp:
            self._columns = stamp, self._read_columns()
        if table not in (found := self._columns[1]):
            raise FeatureNotFoundError(
                f"{table}: got rows, expected none: the data set has no [{table}]. Describe the "
                "table in dataset.toml and run feast-fusion run."
            )
        return found[table]

    def _read_columns(self) -> dict[Table, PostedColumns]:
        source, dataset = self._workspace.source, self._workspace.dataset
        required: dict[Table, tuple[str, ...]] = {"items": (dataset.items.title,), "users": ()}
        return {
            name: PostedColumns.of(
                read_schema(source(name)), key, required[name], _renamed(getattr(dataset, name))
            )
            for name, key in KEYS.items()
            if name == "items" or dataset.users is not None
        }

    def _require(self, table: Table, key: str) -> None:
        self.columns(table)
        if not self._is_there(table, key):
            raise _unknown(table, key)

    def _is_there(self, table: Table, key: str) -> bool | None:
        """Whether it is there now; None where it never was."""
        kind = table.removesuffix("s")
        posted = [row for row in self._index.records_of([(kind, key)], {}) if row.change != "patch"]
        if posted:
            return max(posted, key=lambda row: row.received).change == "put"
        name = KEYS[table]
        rows = read_parquet(self._workspace.source(table), [_TIME], pc.field(name) == key)
        if not len(rows):
            return None
        newest = to_micros(pc.max(rows[_TIME]).as_py())
        times = self._workspace.read_withdrawn().get(key, []) if table == "items" else []
        return not is_withdrawn(times, newest, max([newest, *times]))


def _renamed(section: TableSection) -> dict[str, str]:
    """By a name that the files have the name that their rows are posted with."""
    return {theirs: ours for ours, theirs in section.columns.items() if theirs != ours}


def _row(
    table: Table,
    key: str,
    change: Change,
    values: Mapping[str, Any],
    now: datetime,
    given_time: object = None,
) -> PostedRow:
    received = to_micros(now)
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    time, row_id = received, uuid.uuid4().hex
    if given_time is not None:
        time = read_time(given_time, _TIME, received)
        if (defect := defect_of_time(time)) is not None:
            raise GivenError(defect, _TIME)
        # Sent again it is the same row; one without a time says what the newest version says.
        row_id = hashlib.blake2b("\0".join((table, key, str(time), text)).encode()).hexdigest()[:32]
    return PostedRow(row_id, table, key, change, min(time, received), received, text)


def _unknown(table: Table, key: str) -> FeatureNotFoundError:
    kind = table.removesuffix("s")
    return FeatureNotFoundError(
        f"{kind} {key[:80]!r}: got no such {kind}, expected one that is there. POST it to /{table}."
    )
