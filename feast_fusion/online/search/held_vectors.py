"""The vectors of one view, held in this process in step with what Redis stores."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from feast_fusion.online.codec.time_values import decode_timestamps
from feast_fusion.online.codec.value_decoding import Decoder
from feast_fusion.online.redis.transport import Reply

Fields = Callable[[list[bytes], list[bytes]], list[Reply]]  # of keys: the stored fields of each

_LEAST_ROWS = 1024


class HeldVectors:
    """Vectors by Redis key; a key keeps its row as long as it is stored.

    Attributes
    ----------
    keys : the key of each row, b"" of a free row
    vectors : (n, d) float32
    squares : (n,) squared length of each
    times : (n,) datetime64[us] event timestamp of each, NaT of a free row
    changed_at : (n,) the number of the refresh that wrote the row last
    """

    def __init__(self, decoder: Decoder, vector: bytes, stamp: bytes, created: bytes) -> None:
        self._decoder = decoder
        self._vector, self._ages = vector, [stamp, created]
        self._row: dict[bytes, int] = {}
        self._age: dict[bytes, Reply] = {}
        self._free: list[int] = []
        self.n_refreshes = 0
        self.keys: list[bytes] = []
        self.vectors = np.zeros((0, decoder.width), np.float32)
        self.squares = np.zeros(0, np.float32)
        self.times = np.zeros(0, "datetime64[us]")
        self.changed_at = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._row)

    def refresh(self, stored: Iterable[list[bytes]], read: Fields) -> None:
        """Fetch what is new among the stored keys, and let go of what is no longer stored.

        A vector is fetched again when the event or created timestamp of its row has changed.
        """
        self.n_refreshes += 1
        met: set[bytes] = set()
        for keys in stored:
            ages = dict(zip(keys, read(keys, self._ages), strict=True))
            rows = [key for key in keys if ages[key][0] is not None]
            met.update(rows)
            new = [key for key in rows if self._age.get(key) != ages[key]]
            if new:
                self._fetch(new, ages, read)
        for key in self._row.keys() - met:
            self._remove(key)

    def _fetch(self, keys: list[bytes], ages: dict[bytes, Reply], read: Fields) -> None:
        stored = [reply[0] for reply in read(keys, [self._vector])]
        vectors, valid = self._decoder.column(stored)
        times = decode_timestamps([ages[key][0] for key in keys])
        known = valid & ~np.isnat(times)
        for key, is_known in zip(keys, known.tolist(), strict=True):
            if not is_known and key in self._row:
                self._remove(key)
        kept = [key for key, is_known in zip(keys, known.tolist(), strict=True) if is_known]
        rows = self._rows_of(kept)
        self.vectors[rows] = vectors[known]
        self.squares[rows] = np.einsum("nd,nd->n", self.vectors[rows], self.vectors[rows])
        self.times[rows] = times[known]
        self.changed_at[rows] = self.n_refreshes
        self._age.update((key, ages[key]) for key in kept)

    def _rows_of(self, keys: list[bytes]) -> NDArray[np.int64]:
        """The row of each key; a new key gets a free one, or one at the end."""
        for key in keys:
            if key not in self._row:
                if not self._free:
                    self._grow(len(keys))
                self._row[key] = row = self._free.pop()
                self.keys[row] = key
        return np.array([self._row[key] for key in keys], dtype=np.int64)

    def _grow(self, n_more: int) -> None:
        n = len(self.keys)
        n_new = max(n_more, n, _LEAST_ROWS)
        self.keys += [b""] * n_new
        self.vectors = np.concatenate([self.vectors, np.zeros((n_new, self._decoder.width), "f4")])
        self.squares = np.concatenate([self.squares, np.zeros(n_new, "f4")])
        self.times = np.concatenate([self.times, np.full(n_new, "NaT", "datetime64[us]")])
        self.changed_at = np.concatenate([self.changed_at, np.zeros(n_new, np.int64)])
        self._free += range(n + n_new - 1, n - 1, -1)

    def _remove(self, key: bytes) -> None:
        row = self._row.pop(key)
        del self._age[key]
        self.keys[row] = b""
        self.times[row] = np.datetime64("NaT")
        self._free.append(row)
