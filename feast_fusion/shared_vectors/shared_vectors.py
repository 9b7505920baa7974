"""Vectors of one encoder that other machines have made, and this machine's for them."""

import hashlib
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from feast_fusion.errors import EncoderMismatchError, SchemaError
from feast_fusion.parquet.parquet_source import Positions
from feast_fusion.shared_vectors.part_index import PartIndex, prefixes_of
from feast_fusion.shared_vectors.vector_parts import VectorParts

_READERS = 8  # an object store answers many requests at once, each of them late

_log = logging.getLogger(__name__)


class SharedVectors:
    """Vectors by key at a place that machines share. Safe for many threads and processes.

    A part that is damaged is left out with a warning. The place is listed once for each batch that
    is fetched, and before a part is added.

    Parameters
    ----------
    place : see `VectorParts`
    folder : where this machine keeps which part has which vector; may be deleted

    Raises
    ------
    StoreUnavailableError
        By every use: the place cannot be reached.
    EncoderMismatchError
        By every use: a part has vectors of another width.
    """

    def __init__(self, place: str, folder: Path, encoder_id: str, dimension: int) -> None:
        of_place = hashlib.sha256(place.encode()).hexdigest()[:16]
        self._folder = folder / of_place / encoder_id
        self._index = PartIndex(self._folder)
        self._parts = VectorParts(place, encoder_id)
        self._dimension = dimension
        self._one_at_a_time = threading.Lock()

    def fetch(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The vectors among `keys`, distinct, that are there."""
        keys = sorted(keys)  # near each other in an index
        prefixes = prefixes_of(keys)
        with self._one_at_a_time:
            self._look_for_parts()
            found: dict[bytes, bytes] = {}
            wanted = np.arange(len(keys))
            for name in self._index.names:
                here, rows = self._index.find(name, prefixes[wanted])
                read = self._read(name, np.unique(rows)) if len(rows) else {}
                got = [i for i in np.flatnonzero(here) if keys[wanted[i]] in read]
                found |= {key: read[key] for key in (keys[i] for i in wanted[got])}
                wanted = np.delete(wanted, got)
        return found

    def publish(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Add those of `vectors`, each (d,) by its key, that the place lacks, as one part."""
        with self._one_at_a_time:
            if not self._lacking(vectors):
                return
            self._look_for_parts()
            if lacking := self._lacking(vectors):
                name = self._parts.write({key: vectors[key].tobytes() for key in lacking})
                self._index.add(name, lacking)

    def _lacking(self, keys: Collection[bytes]) -> list[bytes]:
        ordered = sorted(keys)
        known = dict(zip(ordered, self._index.has(prefixes_of(ordered)).tolist(), strict=True))
        return [key for key in keys if not known[key]]  # neighbours of a batch stay so

    def _look_for_parts(self) -> None:
        """Enter the parts that came since, and forget those that went."""
        listed = self._parts.sizes()
        self._folder.mkdir(parents=True, exist_ok=True)
        known = set(self._index.names)
        for name in known - listed.keys():
            self._index.remove(name)
        new = sorted(listed.keys() - known)
        with FileLock(self._folder / ".lock"):  # processes of one machine look into a part once
            unknown = [name for name in new if not self._index.load(name)]
            with ThreadPoolExecutor(_READERS) as pool:
                for name, keys in zip(unknown, pool.map(self._read_keys, unknown), strict=True):
                    self._index.add(name, keys)

    def _read_keys(self, name: str) -> list[bytes]:
        try:
            return self._parts.read_keys(name)
        except SchemaError as error:
            _warn(error)
            return []

    def _read(self, name: str, rows: Positions) -> dict[bytes, bytes]:
        try:
            read = self._parts.read(name, rows)
        except SchemaError as error:
            _warn(error)
            self._index.add(name, [])  # its vectors count as lacking from now on
            return {}
        widths = {len(value) // 4 for value in read.values()} - {self._dimension}
        if widths:
            raise EncoderMismatchError(
                f"{self._parts.path(name)}: got vectors of width {widths.pop()}, expected "
                f"{self._dimension}. Remove that part, or use another place."
            )
        return read


def _warn(error: SchemaError) -> None:
    _log.warning("%s The part is left out; its texts are encoded anew.", error)
