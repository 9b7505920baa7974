"""Which row of which part has a vector, as far as this machine has looked.

Of a key its first 8 bytes are kept, and beside them the number of its row: 16 bytes a vector, in a
file for each part, sorted and mapped into memory. The whole key stands in the part itself and is
compared there, so a wrong entry costs a text that is encoded again and never gives a wrong vector.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feast_fusion.files import replaced_file
from feast_fusion.parquet.parquet_source import Positions

Prefixes = NDArray[np.uint64]

_SUFFIX = ".npy"


def prefixes_of(keys: Sequence[bytes]) -> Prefixes:
    """`(n,)` the first 8 bytes of each key of 32, as numbers in the order of the keys."""
    return np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


class PartIndex:
    """Entries of the parts that were added; those of other processes once they are loaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, NDArray[np.uint64]] = {}  # (2, n): prefixes, rows

    @property
    def names(self) -> list[str]:
        """The parts that are known, in the order of their names."""
        return sorted(self._entries)

    def load(self, name: str) -> bool:
        """Whether this part was added before, by whichever process of this machine."""
        path = self._path(name)
        try:
            self._entries[name] = _checked(np.load(path, mmap_mode="r"))
        except FileNotFoundError:
            return False
        except (OSError, EOFError, ValueError):
            path.unlink()  # damaged
            return False
        return True

    def add(self, name: str, keys: Sequence[bytes]) -> None:
        """Enter the keys of a part, in the order of its rows."""
        prefixes = prefixes_of(keys)
        rows = np.argsort(prefixes)
        with replaced_file(self._path(name)) as building, building.open("wb") as file:
            np.save(file, np.stack([prefixes[rows], rows.astype(np.uint64)]))
        self.load(name)

    def remove(self, name: str) -> None:
        """Forget a part."""
        del self._entries[name]
        self._path(name).unlink(missing_ok=True)

    def find(self, name: str, prefixes: Prefixes) -> tuple[NDArray[np.bool_], Positions]:
        """`(n,)` which of `prefixes` a part has, and the rows of those, in their order."""
        known, rows = self._entries[name]
        if not known.size:
            return np.zeros(len(prefixes), dtype=bool), np.empty(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(known, prefixes), len(known) - 1)
        found = known[at] == prefixes
        return found, rows[at[found]].astype(np.int64)

    def has(self, prefixes: Prefixes) -> NDArray[np.bool_]:
        """`(n,)` which of `prefixes` any part has."""
        found = np.zeros(len(prefixes), dtype=bool)
        for name in self._entries:
            missing = np.flatnonzero(~found)
            found[missing] = self.find(name, prefixes[missing])[0]
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{_SUFFIX}"


def _checked(entries: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if entries.dtype != np.uint64 or entries.ndim != 2 or len(entries) != 2:
        raise ValueError("no entries")
    return entries
