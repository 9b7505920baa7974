"""Searching files: their bytes as they are, and what they are of, read whole."""

import json
import mmap
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pyarrow as pa
from redis import Redis
from redis.exceptions import RedisError

from feast_fusion.errors import StoreUnavailableError
from forgetting.audit.avro_blocks import search_avro
from forgetting.audit.needles import Needles
from forgetting.audit.redis_search import describe_key, search_redis
from forgetting.audit.table_search import search_arrow, search_database, search_parquet

_HEAD = 16  # bytes by which kinds are told apart
_UNREADABLE = (
    pa.ArrowException,
    sqlite3.DatabaseError,
    OSError,
    ValueError,
    RedisError,
    StoreUnavailableError,
)

OpenSnapshot = Callable[[Path], AbstractContextManager[Redis]]
_Search = Callable[[Path, Needles], str | None]


class FileSearch:
    """Searches files for one person, however they are packed.

    A file that cannot be read as what it begins as, such as one that is being written, is searched
    by its bytes alone.

    Parameters
    ----------
    open_snapshot : a Redis that has what a snapshot file has, while it is open
    """

    def __init__(self, needles: Needles, open_snapshot: OpenSnapshot) -> None:
        self._needles = needles
        self._kinds: dict[bytes, _Search] = {
            b"PAR1": search_parquet,
            b"ARROW1": search_arrow,
            b"SQLite format 3\0": search_database,
            b"Obj\x01": search_avro,
            b"REDIS": partial(_search_snapshot, open_snapshot),
            b"\x1f\x8b": partial(_search_packed, "gzip"),
            b"\x28\xb5\x2f\xfd": partial(_search_packed, "zstd"),
            b"{": _search_json,
            b"[": _search_json,
        }

    def search(self, path: Path) -> str | None:
        """Where in a file something is of the person, None where nothing is."""
        if self._needles.in_bytes(path.name.encode()) is not None:
            return "its name"
        try:
            return self._search_content(path)
        except FileNotFoundError:  # it went meanwhile
            return None

    def _search_content(self, path: Path) -> str | None:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if not head:
                return None
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                at = self._needles.in_bytes(content)
        if at is not None:
            return f"byte {at}"
        search = next((each for magic, each in self._kinds.items() if head.startswith(magic)), None)
        try:
            return None if search is None else search(path, self._needles)
        except FileNotFoundError:
            raise
        except _UNREADABLE:
            return None


def _search_snapshot(open_snapshot: OpenSnapshot, path: Path, needles: Needles) -> str | None:
    with open_snapshot(path) as client:
        _, found = search_redis(client, needles)
    return describe_key(found[0]) if found else None


def _search_packed(compression: str, path: Path, needles: Needles) -> str | None:
    with pa.input_stream(str(path), compression=compression) as stream:
        content = stream.read()
    at = needles.in_bytes(content)
    return _in_lines(content, needles) if at is None else f"byte {at}, unpacked"


def _search_json(path: Path, needles: Needles) -> str | None:
    return _in_lines(path.read_bytes(), needles)


def _in_lines(content: bytes, needles: Needles) -> str | None:
    """Where JSON has a needle: as a whole, else line by line; a line that is none is left out."""
    try:
        return "its JSON" if needles.in_parsed("", json.loads(content)) else None
    except ValueError:
        lines = content.splitlines()
    found = (at for at, line in enumerate(lines, 1) if needles.in_value("", line))
    number = next(found, None)
    return None if number is None else f"line {number}"
