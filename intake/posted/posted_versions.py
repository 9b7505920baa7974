"""Posted rows into the tables of items and users, as further versions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.times import from_micros, to_micros
from intake.given_values import GivenError
from intake.posted.posted_columns import TIMES, PostedColumns, read_values
from intake.posted.posted_row import KEYS, PostedRow, Table

Version = dict[str, Any]
# When each item was withdrawn, in microseconds; since then it is gone unless it has a version.
Withdrawn = dict[str, list[int]]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class FoldedTable:
    """A table with the versions that posted rows add.

    Attributes
    ----------
    rows : the versions of the table, then those that are new
    withdrawn : when items were withdrawn
    rejected : rows that say nothing any longer, by reason
    """

    rows: pa.Table
    withdrawn: Withdrawn
    rejected: Counter[str] = field(default_factory=Counter)


def fold_rows(
    table: pa.Table, name: Table, posted: Iterable[PostedRow], withdrawn: Mapping[str, list[int]]
) -> FoldedTable:
    """A prepared table after posted rows, in the order in which they were received.

    A row that says what the version before it says makes none, so it may come twice. One at the
    very time of another version holds from a microsecond later.

    Parameters
    ----------
    name : which of the rows are meant
    withdrawn : before these rows
    """
    rows = [row for row in posted if row.table == name]
    key = KEYS[name]
    history = _History(table, key, {row.key for row in rows}, withdrawn)
    rejected: Counter[str] = Counter()
    for row in rows:
        try:
            history.add(row)
        except GivenError as error:
            rejected[str(error)] += 1
    new = pa.Table.from_pylist(history.new, table.schema)
    return FoldedTable(pa.concat_tables([table, new]), history.withdrawn, rejected)


def withdrawn_items(versions: pa.Table, withdrawn: Mapping[str, list[int]], at: int) -> set[str]:
    """The items that are gone at an instant, in microseconds.

    Parameters
    ----------
    versions : with item_id and event_timestamp
    """
    if not withdrawn:
        return set()
    ids = pa.array(withdrawn, pa.string())
    of_them = versions.filter(pc.is_in(versions["item_id"], value_set=ids))
    newest: dict[str, int] = {}
    for item_id, time in zip(
        of_them["item_id"].to_pylist(),
        of_them["event_timestamp"].cast(pa.int64()).to_pylist(),
        strict=True,
    ):
        if time <= at:
            newest[item_id] = max(time, newest.get(item_id, time))
    return {each for each in newest if is_withdrawn(withdrawn[each], newest[each], at)}


def is_withdrawn(withdrawals: Iterable[int], newest: int | None, at: int) -> bool:
    """Whether an item is gone at an instant, by its newest version then; all in microseconds."""
    gone = max((time for time in withdrawals if time <= at), default=None)
    return gone is not None and (newest is None or newest <= gone)


class _History:
    """The versions of the keys of some posted rows."""

    def __init__(
        self, table: pa.Table, key: str, ids: set[str], withdrawn: Mapping[str, list[int]]
    ) -> None:
        self._key, self._has_created = key, "created" in table.column_names
        self._columns = PostedColumns.of(table.schema, key)
        self._versions: dict[str, list[Version]] = {each: [] for each in ids}
        self.withdrawn: Withdrawn = {each: [*times] for each, times in withdrawn.items()}
        self.new: list[Version] = []
        known = table.filter(pc.is_in(table[key], value_set=pa.array(sorted(ids), pa.string())))
        for version in known.to_pylist():
            self._versions[version[key]].append(version)

    def add(self, row: PostedRow) -> None:
        """Raises GivenError where the row says nothing by the columns of the table."""
        before = self._before(row)
        if row.change == "delete":
            if before is not None:
                self.withdrawn.setdefault(row.key, []).append(row.time)
            return
        if row.change == "patch" and before is None:
            raise GivenError(f"unknown {self._key}")
        is_whole = row.change == "put"
        values = self._columns.read(read_values(row.values), is_whole=is_whole)
        if not is_whole:
            values = {name: (before or {}).get(name) for name in self._columns.types} | values
        if before is None or any(before[name] != values[name] for name in values):
            self._append(row, values)

    def _append(self, row: PostedRow, values: Version) -> None:
        versions = self._versions[row.key]
        taken = {version["event_timestamp"] for version in versions}
        time = from_micros(row.time)
        while time in taken:
            time += _MICROSECOND
        times = {"event_timestamp": time}
        if self._has_created:
            times["created"] = from_micros(row.received)
        versions.append({self._key: row.key, **times, **values})
        self.new.append(versions[-1])

    def _before(self, row: PostedRow) -> Version | None:
        """The newest version when the row holds; None where there is none, or it is withdrawn."""
        earlier = [
            version
            for version in self._versions[row.key]
            if to_micros(version["event_timestamp"]) <= row.time
        ]
        if not earlier:
            return None
        newest = max(earlier, key=lambda version: [version[n] for n in TIMES if n in version])
        stamp = to_micros(newest["event_timestamp"])
        gone = is_withdrawn(self.withdrawn.get(row.key, ()), stamp, row.time)
        return None if gone else newest
