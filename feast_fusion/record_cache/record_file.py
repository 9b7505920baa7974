"""The SQLite file of one model's results: read whole or not at all, written whole or not at all.

docs/decisions/0001-vector-cache.md says why it is SQLite.
"""

import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from feast_fusion.errors import EncoderMismatchError, StoreUnavailableError

# The table is named after the first records that were kept so; so are all caches that there are.
_TABLE = "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, crc INTEGER, value BLOB)"
_PER_QUERY = 500
_WAIT_S = 60.0
_KEY_BYTES = 50  # of a row beside its value
_ANY_LENGTH = -1
_CACHE_KB = 65_536  # the upper levels of the index of ten million
# Our statements are fixed: an error in one means that the schema in the file is damaged.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class RecordFile:
    """Records of bytes under keys, shared by any number of threads and processes.

    Parameters
    ----------
    path : of the file, made when it is first used
    dimension : float32 numbers of every record; None where records are of any length

    Raises
    ------
    EncoderMismatchError
        By every use: the file has records of another length.
    StoreUnavailableError
        By every use: the file cannot be read or written.
    """

    def __init__(self, path: Path, dimension: int | None) -> None:
        self.path = path
        self._dimension = _ANY_LENGTH if dimension is None else dimension
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_suffix(".lock"))

    def count(self) -> int:
        """Records stored."""
        counted = self.run(lambda c: c.execute("SELECT count(*) FROM vector").fetchone()[0])
        return int(counted)

    def read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """The sound (key, value) pairs among `keys`, in any order."""
        asked = set(keys)
        rows = self.run(lambda connection: list(select_rows(connection, keys)))
        rows = [row for row in rows if row[0] in asked]  # a damaged index may lead to another
        sound = [(key, value) for key, crc, value in rows if self.is_sound(key, crc, value)]
        if len(sound) < len(rows):
            _log.warning(
                "%s: %d records fail their checksum; they are made again.",
                self.path,
                len(rows) - len(sound),
            )
        return sound

    def all(self) -> list[tuple[bytes, bytes]]:
        """Every sound (key, value) pair, in any order."""
        rows = self.run(lambda c: c.execute("SELECT key, crc, value FROM vector").fetchall())
        return [(key, value) for key, crc, value in rows if self.is_sound(key, crc, value)]

    def is_sound(self, key: bytes, crc: int, value: bytes) -> bool:
        """Whether a row is as it was written."""
        return (
            isinstance(value, bytes)
            and self._dimension in (_ANY_LENGTH, len(value) / 4)
            and crc == checksum(key, value)
        )

    def write(
        self, records: Mapping[bytes, bytes], also: Callable[[sqlite3.Connection], None]
    ) -> None:
        """Store records by key, and what `also` changes, in one commit."""
        rows = [(key, checksum(key, value), value) for key, value in records.items()]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?, ?)", rows)
            also(connection)

        self.change(work)

    def remove(self, keys: Sequence[bytes]) -> int:
        """Remove records, of which nothing is left in the file; how many there were."""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA secure_delete = ON")
            rows = [(key,) for key in keys]
            return connection.executemany("DELETE FROM vector WHERE key = ?", rows).rowcount

        return self.change(work) if keys else 0

    def change(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns; what it writes is committed, or nothing of it."""

        def committed(connection: sqlite3.Connection) -> _T:
            connection.execute("BEGIN IMMEDIATE")
            done = work(connection)
            connection.execute("COMMIT")
            return done

        return self.run(committed)

    def run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` returns of the file; of a new one where the file is damaged."""
        file = self._file_number()
        try:
            with self._connect() as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            self._recover(error, file)
            with self._connect() as connection:
                return work(connection)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call: none is ever shared by threads or inherited by a fork."""
        connection = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        connection.text_factory = bytes  # damage may have turned a blob into text
        try:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                self._create(connection)
            self._check_width(connection.execute("PRAGMA user_version").fetchone()[0])
            yield connection
        finally:
            connection.close()

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA page_size = {_page_bytes(self._dimension)}")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {self._dimension}")
        connection.execute("COMMIT")

    def _check_width(self, width: int) -> None:
        if width != self._dimension:
            raise EncoderMismatchError(
                f"{self.path}: got vectors of width {width}, expected {self._dimension}. Use "
                "another folder, or delete the file."
            )

    def _file_number(self) -> int | None:
        return self.path.stat().st_ino if self.path.exists() else None

    def _recover(self, error: sqlite3.DatabaseError, file: int | None) -> None:
        """Set the damaged file aside, unless another process has already put a new one there."""
        if getattr(error, "sqlite_errorcode", None) not in _DAMAGE:
            raise StoreUnavailableError(
                f"{self.path}: got {error}, expected a cache that can be read and written. "
                "Check the permissions and the free space."
            ) from error
        self.set_aside(str(error), file or 0)

    def set_aside(self, why: str, file: int | None) -> None:
        """Rename the file, unless it is no longer the one of number `file`, where that is given."""
        with self._lock:
            if file is not None and self._file_number() != file:
                return
            aside = _free_name(self.path)
            self.path.rename(aside)
            # A journal left behind would be replayed into the new file.
            journal = Path(f"{self.path}-journal")
            if journal.exists():
                journal.rename(f"{aside}-journal")
        _log.warning(
            "%s: damaged (%s); kept as %s, its records are made again.",
            self.path,
            why,
            aside.name,
        )


def checksum(key: bytes, value: bytes) -> int:
    """CRC-32 of a record, its key included."""
    return zlib.crc32(value, zlib.crc32(key))


def select_rows(
    connection: sqlite3.Connection, keys: Sequence[bytes]
) -> Iterator[tuple[bytes, int, bytes]]:
    """Key, checksum and value of the keys that there are, sound or not.

    First the index is read, then the rows in the order in which they lie: from a disk this is half
    of the time.
    """
    found = sorted(row for (row,) in _select(connection, "rowid", "key", keys))
    yield from _select(connection, "key, crc, value", "rowid", found)


def _select(
    connection: sqlite3.Connection, columns: str, by: str, wanted: Sequence[bytes] | Sequence[int]
) -> Iterator[Any]:
    for start in range(0, len(wanted), _PER_QUERY):
        part = wanted[start : start + _PER_QUERY]
        places = ",".join("?" * len(part))
        query = f"SELECT {columns} FROM vector WHERE {by} IN ({places})"
        yield from connection.execute(query, part)


def _page_bytes(dimension: int) -> int:
    """The smallest page for five rows: a row stands in one page, so half a page may be lost."""
    row = 4 * max(dimension, 0) + _KEY_BYTES
    return next((size for size in (8192, 16_384, 32_768) if size >= 5 * row), 65_536)


def _free_name(path: Path) -> Path:
    taken = len(list(path.parent.glob(f"{path.name}.damaged*")))
    return path.with_name(f"{path.name}.damaged{taken}")
