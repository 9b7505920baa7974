"""Records made once per key, by whichever thread or process needs them first."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from feast_fusion.record_cache.claims import Claims
from feast_fusion.record_cache.record_file import RecordFile

_POLL_S = 0.05
_T = TypeVar("_T")


class RecordCache:
    """Makes the records that a file lacks. Safe for many threads and processes."""

    def __init__(self, file: RecordFile) -> None:
        self._file = file
        self._claims = Claims(file)

    def make(
        self, wanted: Mapping[bytes, _T], make: Callable[[list[_T]], Sequence[bytes]], chunk: int
    ) -> dict[bytes, bytes]:
        """The record of each key, now stored by this call or by others.

        `make` gets what is wanted under at most `chunk` keys at a time, in order, and its records
        are stored before the next chunk, so a kill loses one chunk at most. Another process that
        needs the same records makes other chunks meanwhile, and waits for these at its end.
        """
        if not wanted:
            return {}
        done: dict[bytes, bytes] = {}
        missing = list(wanted)
        with self._claims.owner() as owner:
            while missing:
                for start in range(0, len(missing), chunk):
                    keys = missing[start : start + chunk]
                    done |= self._make_free({key: wanted[key] for key in keys}, make, owner)
                waiting = [key for key in missing if key not in done]
                found = dict(self._file.read(waiting))
                if len(waiting) == len(missing) and not found:
                    time.sleep(_POLL_S)  # others make them
                done |= found
                missing = [key for key in waiting if key not in found]
        return done

    def _make_free(
        self, wanted: Mapping[bytes, _T], make: Callable[[list[_T]], Sequence[bytes]], owner: str
    ) -> dict[bytes, bytes]:
        """Records of those keys that nobody stored or claims; they are now stored."""
        mine = self._claims.take(owner, list(wanted))
        free = [key for key in wanted if key in mine]  # in the order of what is wanted
        if not free:
            return {}
        made = dict(zip(free, make([wanted[key] for key in free]), strict=True))
        self._file.write(made, lambda connection: self._claims.end(connection, owner))
        return made
