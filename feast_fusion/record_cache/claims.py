"""Who makes a record now: so that processes that need the same records share the work.

A claim is a row (key, owner) in the file of the records. The claims of an owner that no longer
lives are void.
"""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager

from feast_fusion.living import alive, lives
from feast_fusion.record_cache.record_file import RecordFile, select_rows

_NAME = re.compile(rb"[0-9a-f]{32}")
_TABLE = "CREATE TABLE IF NOT EXISTS claim (key BLOB PRIMARY KEY, owner TEXT) WITHOUT ROWID"


class Claims:
    """Claims on keys of one file of records."""

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self._folder = file.path.with_suffix(".owners")

    def owner(self) -> AbstractContextManager[str]:
        """The name of a new owner, whose claims are void behind the block."""
        return alive(self._folder)

    def take(self, owner: str, keys: Sequence[bytes]) -> set[bytes]:
        """The keys that `owner` has to make: neither stored nor claimed by one that lives."""

        def work(connection: sqlite3.Connection) -> set[bytes]:
            connection.execute(_TABLE)
            self._void_dead(connection, owner)
            rows = select_rows(connection, keys)
            stored = {row[0] for row in rows if self._file.is_sound(*row)}
            wanted = [(key, owner) for key in keys if key not in stored]
            connection.executemany("INSERT OR IGNORE INTO claim VALUES (?, ?)", wanted)
            mine = connection.execute("SELECT key FROM claim WHERE owner = ?", (owner,))
            return {key for (key,) in mine}

        return self._file.change(work)

    @staticmethod
    def end(connection: sqlite3.Connection, owner: str) -> None:
        """End the claims of an owner: with the commit that stores what they were for."""
        connection.execute(_TABLE)  # the file may be a new one, in place of a damaged one
        connection.execute("DELETE FROM claim WHERE owner = ?", (owner,))

    def _void_dead(self, connection: sqlite3.Connection, me: str) -> None:
        # No more rows than owners have records in work: a chunk each.
        rows = connection.execute("SELECT DISTINCT CAST(owner AS BLOB) FROM claim").fetchall()
        for (name,) in rows:
            is_name = name is not None and _NAME.fullmatch(name)  # else of a damaged file
            if name != me.encode() and not (is_name and lives(self._folder, name.decode())):
                connection.execute("DELETE FROM claim WHERE CAST(owner AS BLOB) IS ?", (name,))
