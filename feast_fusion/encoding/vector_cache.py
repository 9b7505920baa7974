"""A vector is computed once per distinct (encoder id, text): a content-addressed store on disk.

One SQLite file per encoder (docs/decisions/0001-vector-cache.md says why).
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from feast_fusion.errors import schema_error
from feast_fusion.record_cache.record_cache import RecordCache
from feast_fusion.record_cache.record_file import RecordFile

if TYPE_CHECKING:
    from feast_fusion.shared_vectors.shared_vectors import SharedVectors

Vectors = NDArray[np.float32]
Encode = Callable[[list[str]], Vectors]

_KEYS_PER_READ = 32_768  # bounds what is in memory twice


class VectorCache:
    """Vectors of one encoder under `folder`, shared by any number of threads and processes.

    A vector is stored with a checksum and read back whole or not at all. `n_encoded` counts the
    texts that this instance had encoded. Nothing is kept in memory between calls.

    Parameters
    ----------
    shared : vectors of other machines, which `encode` asks for before it encodes, and gives what
        they lack

    Raises
    ------
    EncoderMismatchError
        The store has vectors of another width.
    """

    def __init__(
        self, folder: Path, encoder_id: str, dimension: int, shared: "SharedVectors | None" = None
    ) -> None:
        self.encoder_id = encoder_id
        self.dimension = dimension
        self.n_encoded = 0
        self.path = folder / f"{encoder_id}.sqlite"
        self._file = RecordFile(self.path, dimension)
        self._records = RecordCache(self._file)
        self._shared = shared
        self._counting = threading.Lock()
        self._file.read([])

    def __len__(self) -> int:
        """Vectors stored; each was one text through the model."""
        return self._file.count()

    def lookup(self, texts: Sequence[str]) -> tuple[Vectors, NDArray[np.bool_]]:
        """(n, d) vectors and (n,) which of them were found; the others are zero."""
        keys = text_keys(self.encoder_id, texts)
        first: dict[bytes, int] = {}
        rows = np.array([first.setdefault(key, row) for row, key in enumerate(keys)], dtype=int)
        unique = sorted(first)  # near each other in the index
        vectors = np.zeros((len(keys), self.dimension), dtype=np.float32)
        found = np.zeros(len(keys), dtype=bool)
        for start in range(0, len(unique), _KEYS_PER_READ):
            pairs = self._file.read(unique[start : start + _KEYS_PER_READ])
            at = [first[key] for key, _ in pairs]
            values = b"".join(value for _, value in pairs)
            vectors[at] = np.frombuffer(values, dtype="<f4").reshape(len(at), self.dimension)
            found[at] = True
        again = np.flatnonzero(rows != np.arange(len(rows)))
        vectors[again], found[again] = vectors[rows[again]], found[rows[again]]
        return vectors, found

    def encode(self, texts: Sequence[str], encode: Encode, chunk: int = 1024) -> Vectors:
        """(n, d) vectors of `texts`, in order; only those not stored go through `encode`.

        `encode` gets at most `chunk` distinct texts at a time; see `RecordCache.make`.

        Raises
        ------
        SchemaError
            `encode` returned another shape, or numbers that are not finite; nothing of that chunk
            is stored.
        StoreUnavailableError
            The shared vectors cannot be reached; what was encoded is stored.
        """
        vectors, found = self.lookup(texts)
        rows_of: dict[str, list[int]] = {}
        for row in np.flatnonzero(~found).tolist():
            rows_of.setdefault(texts[row], []).append(row)
        # Texts of about one length in a chunk are encoded with little padding.
        ordered = sorted(rows_of, key=len, reverse=True)
        missing = dict(zip(text_keys(self.encoder_id, ordered), ordered, strict=True))

        def make(new: list[str]) -> list[bytes]:
            computed = self._checked(np.asarray(encode(new), dtype="<f4", order="C"), len(new))
            with self._counting:
                self.n_encoded += len(new)
            return [vector.tobytes() for vector in computed]

        fetched = self._fetch(list(missing))
        new = {key: text for key, text in missing.items() if key not in fetched}
        for key, value in (fetched | self._records.make(new, make, chunk)).items():
            vectors[rows_of[missing[key]]] = np.frombuffer(value, dtype="<f4")
        self._publish(texts, vectors)
        return vectors

    def _fetch(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """The shared vectors among `keys`, which are now stored here too."""
        if self._shared is None or not keys:
            return {}
        fetched = self._shared.fetch(keys)
        self._file.write(fetched, lambda _: None)
        return fetched

    def _publish(self, texts: Sequence[str], vectors: Vectors) -> None:
        # All of the batch, not what was encoded now: a killed process has stored without sharing.
        if self._shared is not None and len(texts):
            keys = text_keys(self.encoder_id, texts)
            self._shared.publish(dict(zip(keys, vectors, strict=True)))

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


def text_keys(encoder_id: str, texts: Sequence[str]) -> list[bytes]:
    """Under which the vectors of texts, by an encoder, are kept."""
    contents = (f"{encoder_id}\0{text}".encode("utf-8", "surrogatepass") for text in texts)
    return [hashlib.sha256(content).digest() for content in contents]
