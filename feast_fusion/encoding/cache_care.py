"""Looking after caches of vectors: what there is, whether it is sound, how large it may be."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.record_cache.record_file import RecordFile

_SUFFIX = ".sqlite"
_ROWS_AT_ONCE = 10_000
_FIRST_ROW = -(2**63)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CacheFile:
    """One encoder's vectors on disk.

    Attributes
    ----------
    cache_id : of the encoder, see `EncoderIdentity`
    n_vectors, dimension : both 0 where the file cannot be read
    n_bytes : of the file
    set_aside : damaged files that were set aside in its place
    """

    cache_id: str
    n_vectors: int
    dimension: int
    n_bytes: int
    set_aside: tuple[Path, ...]

    @property
    def set_aside_bytes(self) -> int:
        """Of the damaged files."""
        return sum(path.stat().st_size for path in self.set_aside)


def list_caches(folder: Path) -> list[CacheFile]:
    """The caches in a folder, by name."""
    return [_look_at(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def find_cache(folder: Path, cache_id: str) -> CacheFile:
    """The cache of an encoder.

    Raises
    ------
    FeatureNotFoundError
        There is none.
    """
    found = {cache.cache_id: cache for cache in list_caches(folder)}
    if cache_id not in found:
        raise FeatureNotFoundError(
            f"{folder}: got no vectors of {cache_id}, expected one of "
            f"{', '.join(found) or 'those of a first run'}. See feast-fusion cache stats."
        )
    return found[cache_id]


def verify_cache(folder: Path, cache: CacheFile, progress: Progress) -> tuple[int, int]:
    """How many vectors are sound, and how many were not and are now removed.

    Every checksum is compared and the structure of the file checked; a file whose structure is
    broken is set aside, which removes all of them. A removed vector is computed again when its
    text is next needed.

    Raises
    ------
    StoreUnavailableError
        The file cannot be read or written.
    """
    if not cache.dimension:
        _open(folder, cache, 1).set_aside("no header", None)
        return 0, cache.n_vectors
    file = _open(folder, cache, cache.dimension)
    problem = file.run(lambda connection: connection.execute("PRAGMA quick_check").fetchone()[0])
    if problem != b"ok":
        file.set_aside(problem.decode(errors="replace"), None)
        return 0, cache.n_vectors
    last, n_read, n_broken = _FIRST_ROW, 0, 0
    while rows := file.run(partial(_rows_after, rowid=last)):
        broken = [(row[0],) for row in rows if not file.is_sound(*row[1:])]
        if broken:
            file.change(partial(_delete, rows=broken))
        last, n_read, n_broken = rows[-1][0], n_read + len(rows), n_broken + len(broken)
        progress(cache.cache_id, n_read, cache.n_vectors)
    return n_read - n_broken, n_broken


def compact_cache(folder: Path, cache: CacheFile, at_most_bytes: int | None) -> CacheFile:
    """The cache without damaged files and free pages, the oldest vectors beyond a bound removed.

    Raises
    ------
    StoreUnavailableError
        The file cannot be written, or there is no room for a copy of it meanwhile.
    """
    for path in cache.set_aside:
        path.unlink()
    if cache.dimension:
        file = _open(folder, cache, cache.dimension)
        file.run(_vacuum)
        n_bytes, n_kept = file.path.stat().st_size, file.count()
        while at_most_bytes is not None and n_bytes > at_most_bytes and n_kept:
            n_kept = int(n_kept * min(0.98, at_most_bytes / n_bytes))
            file.change(partial(_keep_newest, n=n_kept))
            file.run(_vacuum)
            n_bytes = file.path.stat().st_size
    return _look_at(folder / f"{cache.cache_id}{_SUFFIX}")


def drop_cache(folder: Path, cache: CacheFile) -> None:
    """Remove an encoder's vectors; they are computed again when they are next needed."""
    for path in (folder / f"{cache.cache_id}{_SUFFIX}", *cache.set_aside):
        path.unlink(missing_ok=True)


def remove_vectors(folder: Path, cache: CacheFile, keys: Sequence[bytes]) -> int:
    """Remove the vectors under some keys, see `text_keys`; how many there were."""
    return _open(folder, cache, cache.dimension).remove(keys) if cache.dimension else 0


def _look_at(path: Path) -> CacheFile:
    aside = tuple(sorted(path.parent.glob(f"{path.name}.damaged*")))
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            (dimension,) = connection.execute("PRAGMA user_version").fetchone()
            (n_vectors,) = connection.execute("SELECT count(*) FROM vector").fetchone()
    except sqlite3.DatabaseError:
        dimension = n_vectors = 0
    return CacheFile(path.stem, n_vectors, dimension, path.stat().st_size, aside)


def _open(folder: Path, cache: CacheFile, dimension: int) -> RecordFile:
    return RecordFile(folder / f"{cache.cache_id}{_SUFFIX}", dimension)


def _rows_after(connection: sqlite3.Connection, rowid: int) -> list[tuple[int, bytes, int, bytes]]:
    query = "SELECT rowid, key, crc, value FROM vector WHERE rowid > ? ORDER BY rowid LIMIT ?"
    return connection.execute(query, (rowid, _ROWS_AT_ONCE)).fetchall()


def _vacuum(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")


def _delete(connection: sqlite3.Connection, rows: list[tuple[int]]) -> None:
    connection.executemany("DELETE FROM vector WHERE rowid = ?", rows)


def _keep_newest(connection: sqlite3.Connection, n: int) -> None:
    """A replaced vector has a new number, so numbers grow with time."""
    if n == 0:
        connection.execute("DELETE FROM vector")
        return
    query = "SELECT rowid FROM vector ORDER BY rowid DESC LIMIT 1 OFFSET ?"
    oldest = connection.execute(query, (n - 1,)).fetchone()
    if oldest is not None:
        connection.execute("DELETE FROM vector WHERE rowid < ?", oldest)
