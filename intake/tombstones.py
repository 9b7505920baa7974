"""Who was forgotten: a keyed digest of each id, in files that every process watches."""

import hashlib
import math
import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.files import private_folder, replaced_file, sync_path
from feast_fusion.sealed_json import write_json

_KEY, _FOLDER = "key", "tombstones"
_KEY_BYTES = 32
# The times of a file system are this coarse: two changes within one step have the same time.
_COARSE_NS = 100_000_000
_LOOK_EVERY_S = 0.02


class Tombstones:
    """The tombstones in `folder`. Safe for many threads and processes.

    A tombstone is named by a digest under a key that lies beside it, which encrypts the requests
    that are not completed, too. Without the key nobody finds out whose it is, and with it only who
    knows the id.
    What another process adds or lifts is known within `_LOOK_EVERY_S`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._place = folder, folder / _FOLDER
        self._lock = threading.Lock()
        self._look_at = -math.inf
        self._stamp: int | None = None
        self._digests: frozenset[str] = frozenset()
        self._key = b""

    @property
    def digests(self) -> frozenset[str]:
        """Of all who were forgotten."""
        if (now := time.monotonic()) >= self._look_at:
            self._look()
            self._look_at = now + _LOOK_EVERY_S
        return self._digests

    def _look(self) -> None:
        try:
            stamp = self._place.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if stamp != self._stamp:
            self._digests = frozenset(path.stem for path in self._place.glob("[!.]*.json"))
            is_settled = time.time_ns() - stamp > _COARSE_NS
            self._stamp = stamp if is_settled else None

    def __contains__(self, user_id: object) -> bool:
        digests = self.digests
        return bool(digests) and self.digest(str(user_id)) in digests

    def select(self, user_ids: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
        """(n,) which of n strings are ids of who was forgotten; of null it is false."""
        if not self.digests:
            return np.zeros(len(user_ids), dtype=bool)
        distinct = pc.unique(user_ids).drop_null()
        gone = [each for each in distinct.to_pylist() if each in self]
        return np.asarray(pc.is_in(user_ids, value_set=pa.array(gone, distinct.type)))

    def any_in(self, words: Sequence[str]) -> bool:
        """Whether a word is the id of one who was forgotten."""
        return any(word in self for word in words)

    def digest(self, user_id: str) -> str:
        """By which an id is known here."""
        return hashlib.blake2b(user_id.encode(), key=self.key, digest_size=16).hexdigest()

    def add(self, user_id: str) -> str:
        """Nobody of this id is known from here on, safe from a loss of power; its digest."""
        digest = self.digest(user_id)
        if digest not in self.digests:
            self._place.mkdir(exist_ok=True)
            with replaced_file(self._place / f"{digest}.json", sync=True) as building:
                write_json(building, {"forgotten": datetime.now(UTC)})
            sync_path(self._folder)
            self._look_at = -math.inf
        return digest

    def lift(self, user_id: str) -> bool:
        """Whoever has this id is known again, from now on; whether there was a tombstone."""
        was_there = user_id in self
        if was_there:
            (self._place / f"{self.digest(user_id)}.json").unlink(missing_ok=True)
            sync_path(self._place)
            self._look_at = -math.inf
        return was_there

    @property
    def key(self) -> bytes:
        """What digests are made under, made when it is first needed."""
        with self._lock:
            if not self._key:
                path = self._folder / _KEY
                if not path.exists():
                    self._make_key(path)
                self._key = path.read_bytes()
        return self._key

    def _make_key(self, path: Path) -> None:
        private_folder(self._folder)
        made = path.with_name(f".{_KEY}.{os.getpid()}")
        made.touch(0o600)
        made.write_bytes(secrets.token_bytes(_KEY_BYTES))
        sync_path(made)
        with suppress(FileExistsError):  # another process may be first
            path.hardlink_to(made)
        made.unlink()
        sync_path(self._folder)
