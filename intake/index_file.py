"""The SQLite file of the journal's index: sets of fixed-width entries, and how far files are in it.

One statement takes or gives any number of entries: each step of SQLite hands the interpreter to
other threads, and to get it back takes up to 5 ms while one of them computes.
"""

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from feast_fusion.errors import StoreUnavailableError

Kind = Literal["ids", "places"]

_WIDTH: dict[Kind, int] = {"ids": 16, "places": 18}
_BUSY_S = 30.0
_AGAIN_S = 0.01
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, bytes INTEGER NOT NULL DEFAULT 0,
    crc INTEGER NOT NULL DEFAULT 0, modified INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS ids (entry BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS places (entry BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_MARKS = "SELECT id, name, bytes, crc, modified, removed FROM files"
_EACH = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) "

# The disk, or somebody who holds it; closed by another thread.
_NO_DAMAGE = (sqlite3.OperationalError, sqlite3.ProgrammingError)

_log = logging.getLogger(__name__)


class FileMark(NamedTuple):
    """How far one file of the journal is indexed.

    Attributes
    ----------
    n_bytes, crc : how much of it is indexed, and the CRC-32 of that
    modified : its time of modification then, nanoseconds
    removed : how much of it is prepared and out of Redis again
    """

    file_id: int
    name: str
    n_bytes: int
    crc: int
    modified: int
    removed: int


class IndexFile:
    """The file at `path`, which several processes may use; made by the first write.

    Where it cannot be written, it is in memory.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._opened: tuple[sqlite3.Connection, sqlite3.Connection] | None = None

    def close(self) -> None:
        """Safe to repeat; the next use opens it again."""
        with self._lock:
            for connection in self._opened or ():
                connection.close()
            self._opened = None

    def discard(self) -> None:
        """Begin anew: it is derived from the journal's files."""
        with self._lock:
            self.close()
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing of what the block writes.

        Raises
        ------
        StoreUnavailableError
            The disk is full or fails. A damaged file is discarded first.
        """
        with self._lock, self._told():
            connection = self._open()[0]
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *arguments: Any) -> list[Any]:
        """What a query finds, nothing before the first write; raises as `writing`."""
        with self._told():
            if self._opened is None and not self._path.exists():
                return []
            return self._open()[1].execute(sql, arguments).fetchall()

    def marks(self) -> dict[str, FileMark]:
        """How far each file is indexed, by its name."""
        return {row[1]: FileMark(*row) for row in self.rows(_MARKS)}

    def positions_in(self, kind: Kind, entries: Sequence[bytes]) -> list[int]:
        """Which of the entries, by position, the set has."""
        at = f"substr(?2, 1 + i * {_WIDTH[kind]}, {_WIDTH[kind]})"
        sql = f"{_EACH} SELECT i FROM n WHERE EXISTS (SELECT 1 FROM {kind} WHERE entry = {at})"
        return [i for (i,) in self.rows(sql, len(entries), b"".join(entries))] if entries else []

    def places_between(self, bounds: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """The places from the first bound of each pair to before the second."""
        found = self._between("group_concat(hex(entry), '')", bounds)
        joined, width = bytes.fromhex("".join(filter(None, found))), _WIDTH["places"]
        return [joined[at : at + width] for at in range(0, len(joined), width)]

    def count_between(self, bounds: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """How many places lie between each pair of bounds."""
        return [n or 0 for n in self._between("count(*)", bounds)]

    def _between(self, what: str, bounds: Sequence[tuple[bytes, bytes]]) -> list[Any]:
        if not bounds:
            return []
        lower, upper = (f"substr(?{n}, 1 + i * 18, 18)" for n in (2, 3))
        sql = (
            f"{_EACH} SELECT json_group_array(found) FROM (SELECT (SELECT {what} FROM places "
            f"WHERE entry >= {lower} AND entry < {upper}) AS found FROM n ORDER BY i)"
        )
        given = (b"".join(each) for each in zip(*bounds, strict=True))
        rows = self.rows(sql, len(bounds), *given)
        return json.loads(rows[0][0]) if rows else [None] * len(bounds)

    def _open(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        with self._lock:
            if self._opened is None:
                try:
                    writer, reader = _connect(self._path), _connect(self._path)
                except sqlite3.OperationalError as error:
                    _log.warning("%s: %s; the index is in memory this time", self._path, error)
                    writer = reader = _connect(":memory:")
                self._opened = writer, reader
            return self._opened

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if not isinstance(error, _NO_DAMAGE):
                _log.warning("%s: %s; it is made anew from the journal", self._path, error)
                self.discard()
            raise StoreUnavailableError(
                f"{self._path}: got {error}, expected to read and write it. Free space or correct "
                "the permissions. It holds nothing that is not in the journal's files."
            ) from error


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        until = time.monotonic() + _BUSY_S
        while True:
            try:
                connection.executescript(_SCHEMA)
                return connection
            except sqlite3.OperationalError as error:  # changing to WAL does not wait for others
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(_AGAIN_S)
    except BaseException:
        connection.close()
        raise


def insert(connection: sqlite3.Connection, kind: Kind, entries: Sequence[bytes]) -> None:
    """Put entries into a set, in their order, which makes it quick."""
    if entries:
        at = f"substr(?2, 1 + i * {_WIDTH[kind]}, {_WIDTH[kind]})"
        connection.execute(
            f"{_EACH} INSERT OR IGNORE INTO {kind} SELECT {at} FROM n",
            (len(entries), b"".join(sorted(entries))),
        )


def remove(connection: sqlite3.Connection, kind: Kind, entries: Sequence[bytes]) -> None:
    """Take entries out of a set; nothing of them is left in the file."""
    connection.executemany(f"DELETE FROM {kind} WHERE entry = ?", [(each,) for each in entries])


def file_id(connection: sqlite3.Connection, name: str) -> int:
    """The number of a file, given to it now if it has none."""
    connection.execute("INSERT OR IGNORE INTO files (name) VALUES (?)", (name,))
    found: int = connection.execute("SELECT id FROM files WHERE name = ?", (name,)).fetchone()[0]
    return found
