"""The vectors of a catalogue and what each is called wherever a graph holds it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class KeyedVectors:
    """m vectors, which some of the n rows of a catalogue have.

    Attributes
    ----------
    matrix : (n, d) float32, L2-normalised
    rows : (m,) rows of `matrix`
    keys : (m,) a digest of the item's id and its vector: an item whose vector changed has another
    """

    matrix: NDArray[np.float32]
    rows: NDArray[np.int64]
    keys: Keys

    @classmethod
    def of(
        cls, item_ids: Iterable[str], matrix: NDArray[np.float32], present: NDArray[np.bool_]
    ) -> "KeyedVectors":
        """All vectors of n items.

        Parameters
        ----------
        present : (n,) bool, False where there is no vector
        """
        digests = [
            hashlib.blake2b(item_id.encode() + vector.tobytes(), digest_size=8).digest()
            for item_id, vector, is_there in zip(item_ids, matrix, present, strict=True)
            if is_there
        ]
        keys = np.frombuffer(b"".join(digests), dtype=np.uint64)
        return cls(matrix, np.flatnonzero(present), keys)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: NDArray[np.int64]) -> "KeyedVectors":
        """Some of the vectors, by their places in `rows`."""
        return KeyedVectors(self.matrix, self.rows[places], self.keys[places])
