"""A vector is computed once per distinct (encoder id, text): a content-addressed store on disk.

One SQLite file per encoder (docs/decisions/0001-vector-cache.md says why).
"""

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from feast_fusion.errors import EncoderMismatchError, StoreUnavailableError, schema_error

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]

_TABLE = "CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, crc INTEGER, value BLOB)"
_KEYS_PER_READ = 8192  # bounds what is in memory twice
_KEYS_PER_QUERY = 500
_WAIT_S = 60.0
# Our statements are fixed: an error in one means that the schema in the file is damaged.
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_log = logging.getLogger(__name__)


class VectorCache:
    """Vectors of one encoder under `folder`, shared by any number of threads and processes.

    A vector is stored with a checksum and read back whole or not at all. `n_encoded` counts the
    texts that this instance had encoded. Nothing is kept in memory between calls.

    Raises
    ------
    EncoderMismatchError
        The store has vectors of another width.
    """

    def __init__(self, folder: Path, encoder_id: str, dimension: int) -> None:
        self.encoder_id = encoder_id
        self.dimension = dimension
        self.n_encoded = 0
        self.path = folder / f"{encoder_id}.sqlite"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"{encoder_id}.lock")
        self._read([])

    def __len__(self) -> int:
        """Vectors stored; each was one text through the model."""
        with self._connect() as connection:
            (count,) = connection.execute("SELECT count(*) FROM vector").fetchone()
        return int(count)

    def lookup(self, texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
        """(n, d) vectors and (n,) which of them were found; the others are zero."""
        keys = [self._key(text) for text in texts]
        unique = list(dict.fromkeys(keys))
        distinct = {key: at for at, key in enumerate(unique)}
        vectors = np.zeros((len(distinct), self.dimension), dtype=np.float32)
        found = np.zeros(len(distinct), dtype=bool)
        for start in range(0, len(distinct), _KEYS_PER_READ):
            part = unique[start : start + _KEYS_PER_READ]
            for key, value in self._read(part):
                vectors[distinct[key]] = np.frombuffer(value, dtype="<f4")
                found[distinct[key]] = True
        rows = np.fromiter((distinct[key] for key in keys), dtype=np.int64, count=len(keys))
        return vectors[rows], found[rows]

    def encode(self, texts: Sequence[str], encode: Encode, chunk: int = 1024) -> Vectors:
        """(n, d) vectors of `texts`, in order; only those not stored go through `encode`.

        `encode` gets at most `chunk` distinct texts at a time, and what it returns is stored
        before the next chunk, so a kill loses one chunk at most. Another process that needs the
        same vectors waits and finds them.

        Raises
        ------
        SchemaError
            `encode` returned another shape, or numbers that are not finite; nothing of that chunk
            is stored.
        """
        vectors, found = self.lookup(texts)
        rows_of: dict[str, list[int]] = {}
        for row in np.flatnonzero(~found).tolist():
            rows_of.setdefault(texts[row], []).append(row)
        # Texts of about one length in a chunk are encoded with little padding.
        missing = sorted(rows_of, key=len, reverse=True)
        for start in range(0, len(missing), chunk):
            part = missing[start : start + chunk]
            for text, vector in zip(part, self._encode_chunk(part, encode), strict=True):
                vectors[rows_of[text]] = vector
        return vectors

    def _encode_chunk(self, texts: list[str], encode: Encode) -> Vectors:
        with self._lock:
            vectors, found = self.lookup(texts)  # another process may have stored them meanwhile
            missing = [text for text, is_known in zip(texts, found, strict=True) if not is_known]
            if missing:
                computed = self._checked(
                    np.asarray(encode(missing), dtype="<f4", order="C"), len(missing)
                )
                self._write(missing, computed)
                self.n_encoded += len(missing)
                vectors[~found] = computed
        return vectors

    def _checked(self, computed: Vectors, n: int) -> Vectors:
        if computed.shape != (n, self.dimension):
            raise schema_error(
                f"vectors of {self.encoder_id}",
                got=f"shape {computed.shape}",
                expected=f"({n}, {self.dimension})",
                remedy="Use the encoder that this cache was opened for.",
            )
        n_bad = int((~np.isfinite(computed).all(axis=1)).sum())
        if n_bad:
            raise schema_error(
                f"vectors of {self.encoder_id}",
                got=f"{n_bad} of {n} not finite",
                expected="finite numbers",
                remedy="Load the encoder with dtype=torch.float32.",
            )
        return computed

    def _key(self, text: str) -> bytes:
        content = f"{self.encoder_id}\0{text}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(content).digest()

    def _read(self, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """The sound (key, value) pairs among `keys`; a file that is not sound is set aside."""
        file = self._file_number()
        try:
            with self._connect() as connection:
                rows = list(_select(connection, keys))
        except sqlite3.DatabaseError as error:
            self._recover(error, file)
            return []
        sound = [(key, value) for key, crc, value in rows if self._is_sound(key, crc, value)]
        if len(sound) < len(rows):
            _log.warning(
                "%s: %d vectors fail their checksum; they are computed again.",
                self.path,
                len(rows) - len(sound),
            )
        return sound

    def _is_sound(self, key: bytes, crc: int, value: bytes) -> bool:
        return (
            isinstance(value, bytes)
            and len(value) == 4 * self.dimension
            and crc == zlib.crc32(value, zlib.crc32(key))
        )

    def _write(self, texts: list[str], vectors: Vectors) -> None:
        rows = []
        for text, vector in zip(texts, vectors, strict=True):
            key, value = self._key(text), vector.tobytes()
            rows.append((key, zlib.crc32(value, zlib.crc32(key)), value))
        file = self._file_number()
        try:
            self._insert(rows)
        except sqlite3.DatabaseError as error:
            self._recover(error, file)
            self._insert(rows)

    def _insert(self, rows: list[tuple[bytes, int, bytes]]) -> None:
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO vector VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call: none is ever shared by threads or inherited by a fork."""
        connection = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
        connection.text_factory = bytes  # damage may have turned a blob into text
        try:
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                self._create(connection)
            self._check_width(connection.execute("PRAGMA user_version").fetchone()[0])
            yield connection
        finally:
            connection.close()

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {self.dimension}")
        connection.execute("COMMIT")

    def _check_width(self, width: int) -> None:
        if width != self.dimension:
            raise EncoderMismatchError(
                f"{self.path}: got vectors of width {width}, expected {self.dimension}. Use "
                "another folder, or delete the file."
            )

    def _file_number(self) -> int | None:
        return self.path.stat().st_ino if self.path.exists() else None

    def _recover(self, error: sqlite3.DatabaseError, file: int | None) -> None:
        """Set the damaged file aside, unless another process has already put a new one there."""
        if getattr(error, "sqlite_errorcode", None) not in _DAMAGE:
            raise StoreUnavailableError(
                f"{self.path}: got {error}, expected a vector cache that can be read and written. "
                "Check the permissions and the free space."
            ) from error
        with self._lock:
            if self._file_number() != file:
                return
            aside = _free_name(self.path)
            self.path.rename(aside)
            # A journal left behind would be replayed into the new file.
            journal = Path(f"{self.path}-journal")
            if journal.exists():
                journal.rename(f"{aside}-journal")
        _log.warning(
            "%s: damaged (%s); kept as %s, its vectors are computed again.",
            self.path,
            error,
            aside.name,
        )


def _select(
    connection: sqlite3.Connection, keys: Sequence[bytes]
) -> Iterator[tuple[bytes, int, bytes]]:
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        part = keys[start : start + _KEYS_PER_QUERY]
        places = ",".join("?" * len(part))
        query = f"SELECT key, crc, value FROM vector WHERE key IN ({places})"
        yield from connection.execute(query, part)


def _free_name(path: Path) -> Path:
    taken = len(list(path.parent.glob(f"{path.name}.damaged*")))
    return path.with_name(f"{path.name}.damaged{taken}")
