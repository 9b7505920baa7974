"""Which records a journal has, and where: on disk, derived from its files, made anew when lost.

What is behind the indexed part of a file, some thousand records of writers that live, is read from
the file.
"""

import hashlib
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Generic

import pyarrow as pa

from feast_fusion.errors import StoreUnavailableError
from intake.index_file import IndexFile, file_id, insert, remove
from intake.journal_archive import archive_files, archive_prepared, archived_bytes, read_archived
from intake.journal_file import (
    Line,
    journal_files,
    read_line,
    sound_lines,
    try_lock,
)
from intake.record_format import Key, R, RecordFormat, is_blank

_FILE = ".index.sqlite"
_PIECE = 20_000  # records that are read at a time
_READ_BYTES = 1 << 20
_PLACE = struct.Struct(">8sIHI")  # hash of the key, file, offset (48 bits)
_LAST = (1 << 32, 0)


class JournalIndex(Generic[R]):
    """The index of the journal in `folder`, for any number of threads and processes.

    All methods raise StoreUnavailableError where it cannot be written or read, and SchemaError
    where a file of the journal is damaged.
    """

    def __init__(self, folder: Path, of: RecordFormat[R]) -> None:
        self._folder, self._of = folder, of
        self._file = IndexFile(folder / _FILE)

    def close(self) -> None:
        """Safe to repeat; the next use opens it again."""
        self._file.close()

    def catch_up(self) -> None:
        """Take in what the files of writers that are gone, and the archive, have more."""
        try:
            self._catch_up()
        except StoreUnavailableError:
            self._catch_up()  # a damaged index is discarded by now

    def _catch_up(self) -> None:
        for path in archive_files(self._folder):
            self.add_archive(path)
        for path in journal_files(self._folder):
            with path.open("rb") as file:
                if try_lock(file):
                    self.add_file(path)

    def contains(self, ids: Sequence[str]) -> list[bool]:
        """Whether the index has each id."""
        found = set(self._file.positions_in("ids", [_digest(each) for each in ids]))
        return [at in found for at in range(len(ids))]

    def add_file(self, path: Path, end: int | None = None) -> int:
        """Take in the sound part of a file, up to the offset `end`; where it ends.

        A file that is no longer what was indexed of it makes the whole index anew.
        """
        stat = path.stat()
        mark = self._file.marks().get(path.name)
        if mark is not None and end is None:
            if (mark.n_bytes, mark.modified) == (stat.st_size, stat.st_mtime_ns):
                return mark.n_bytes
            if _crc(path, 0, mark.n_bytes) != mark.crc:
                self._file.discard()
                self._catch_up()
                mark = self._file.marks().get(path.name)
        start = 0 if mark is None else mark.n_bytes
        if end is not None and start >= end:
            return start
        crc = 0 if mark is None else mark.crc
        lines = takewhile(lambda line: end is None or line.end <= end, sound_lines(path, start))
        while piece := list(islice(lines, _PIECE)):
            crc = _crc(path, start, piece[-1].end, crc)
            start = piece[-1].end
            self._add(path.name, piece, (start, crc, stat.st_mtime_ns))
        return start

    def _add(self, name: str, lines: Sequence[Line], mark: tuple[int, int, int]) -> None:
        ids, keyed = self._entries(lines)
        with self._file.writing() as connection:
            number = file_id(connection, name)
            insert(connection, "ids", ids)
            insert(connection, "places", [_place(key, number, at) for key, at in keyed])
            connection.execute(
                "UPDATE files SET bytes = ?, crc = ?, modified = ? WHERE id = ? AND bytes < ?",
                (*mark, number, mark[0]),
            )

    def add_archive(self, path: Path) -> None:
        """Take in the ids of an archived file, if they are not there yet."""
        name = f"{path.stem}.jsonl"
        if (mark := self._file.marks().get(name)) is None or not mark.n_bytes:
            for batch in read_archived(path, [self._of.id_column]).to_batches(_PIECE):
                with self._file.writing() as connection:
                    insert(connection, "ids", [_digest(each) for each in batch[0].to_pylist()])
            with self._file.writing() as connection:
                number, n_bytes = file_id(connection, name), archived_bytes(path)
                connection.execute("UPDATE files SET bytes = ? WHERE id = ?", (n_bytes, number))

    def records_of(
        self, keys: Collection[Key], behind: Mapping[str, int], *, tails: bool = True
    ) -> list[R]:
        """The records of users and items.

        Parameters
        ----------
        behind : by file, how many of its bytes do not count
        tails : whether what is not indexed yet counts, too
        """
        marks = {mark.file_id: mark for mark in self._file.marks().values()}
        bounds = [_bounds(key) for key in map(_hash, keys)]
        offsets: dict[str, set[int]] = {}
        for place in self._file.places_between(bounds):
            _, number, high, low = _PLACE.unpack(place)
            name, offset = marks[number].name, (high << 32) + low
            if offset >= behind.get(name, 0):
                offsets.setdefault(name, set()).add(offset)
        bodies = [body for name in offsets for body in self._bodies(name, sorted(offsets[name]))]
        if tails:
            ends = {mark.name: mark.n_bytes for mark in marks.values()}
            rest = {name: max(end, behind.get(name, 0)) for name, end in ends.items()}
            bodies += [line.body for _, line in self._lines_behind({**behind, **rest})]
        wanted = set(keys)
        records = self._of.decode_all(bodies)
        return [each for each in records if not wanted.isdisjoint(self._of.keys_of(each))]

    def _bodies(self, name: str, offsets: Iterable[int]) -> Iterator[bytes]:
        path = self._folder / name
        if path.exists():
            with path.open("rb") as file:
                yield from (read_line(path, file, offset) for offset in offsets)

    def pieces_behind(self, behind: Mapping[str, int], ends: dict[str, int]) -> Iterator[list[R]]:
        """All records but those of the first bytes of files, some thousand at a time.

        ends : is told how far each file was read, before the records are given
        """
        lines = self._lines_behind(behind)
        while piece := list(islice(lines, _PIECE)):
            ends.update((name, line.end) for name, line in piece)
            yield self._of.decode_all(line.body for _, line in piece)

    def pieces_between(
        self, starts: Mapping[str, int], ends: Mapping[str, int]
    ) -> Iterator[list[R]]:
        """The records of files between two offsets each, also of archived files."""
        archived = {f"{path.stem}.jsonl": path for path in archive_files(self._folder)}
        for name, end in ends.items():
            if starts.get(name, 0) >= end:
                continue
            if name in archived:
                for table in read_archived(archived[name]).to_batches(_PIECE):
                    yield self._of.to_records(pa.table(table))
            elif (path := self._folder / name).exists():
                lines = sound_lines(path, starts.get(name, 0))
                within = takewhile(lambda line: line.end <= end, lines)  # noqa: B023
                while piece := list(islice(within, _PIECE)):
                    yield self._of.decode_all(line.body for line in piece)

    def _lines_behind(self, behind: Mapping[str, int]) -> Iterator[tuple[str, Line]]:
        for path in journal_files(self._folder):
            start = behind.get(path.name, 0)
            if path.stat().st_size > start:
                yield from ((path.name, line) for line in sound_lines(path, start))

    def count_between(
        self, keys: Sequence[Key], starts: Mapping[str, int], ends: Mapping[str, int]
    ) -> list[int]:
        """How many records of each key lie between two offsets of their files."""
        counts = [0] * len(keys)
        for name, mark in self._file.marks().items():
            start, end = starts.get(name, 0), ends.get(name, 0)
            if start < end:
                number = mark.file_id
                bounds = [
                    (_place(key, number, start), _place(key, number, end))
                    for key in map(_hash, keys)
                ]
                found = self._file.count_between(bounds)
                counts = [n + more for n, more in zip(counts, found, strict=True)]
        return counts

    def indexed(self) -> dict[str, int]:
        """By file, how many of its bytes are in the index."""
        return {mark.name: mark.n_bytes for mark in self._file.marks().values()}

    def removed(self) -> dict[str, int]:
        """By file, how many of its bytes are prepared and out of Redis again."""
        return {mark.name: mark.removed for mark in self._file.marks().values()}

    def note_removed(self, ends: Mapping[str, int]) -> None:
        """Keep it."""
        with self._file.writing() as connection:
            for name, end in ends.items():
                number = file_id(connection, name)
                sql = "UPDATE files SET removed = max(removed, ?) WHERE id = ?"
                connection.execute(sql, (end, number))

    def archive(self, prepared: Mapping[str, int]) -> int:
        """Archive files of which all is prepared, and whose writer is gone; how many.

        prepared : by file, how many of its bytes are prepared
        """
        self.catch_up()
        return archive_prepared(self._folder, self._of, prepared, self._forget_places)

    def _forget_places(self, path: Path) -> None:
        """Nobody asks where records are that are prepared; their ids stay."""
        self.add_file(path)
        with self._file.writing() as connection:
            of_file = struct.pack(">I", file_id(connection, path.name))
            connection.execute("DELETE FROM places WHERE substr(entry, 9, 4) = ?", (of_file,))

    def ids_behind(self, path: Path) -> list[str]:
        """The ids of a file that are not in the index."""
        mark = self._file.marks().get(path.name)
        lines = sound_lines(path, 0 if mark is None else mark.n_bytes)
        return [self._of.id_of(each) for each in self._of.decode_all(line.body for line in lines)]

    def forget(self, path: Path, lines: Sequence[Line]) -> None:
        """Leave nothing of lines that are blank by now, given as they were; the rest stays."""
        mark = self._file.marks().get(path.name)
        if mark is not None:
            crc, modified = _crc(path, 0, mark.n_bytes), path.stat().st_mtime_ns
            ids, keyed = self._entries(lines)
            with self._file.writing() as connection:
                remove(connection, "ids", ids)
                places = [_place(key, mark.file_id, at) for key, at in keyed]
                remove(connection, "places", places)
                sql = "UPDATE files SET crc = ?, modified = ? WHERE id = ? AND bytes = ?"
                connection.execute(sql, (crc, modified, mark.file_id, mark.n_bytes))

    def forget_ids(self, ids: Sequence[str]) -> None:
        """Leave nothing of records that are no longer in the archive."""
        with self._file.writing() as connection:
            remove(connection, "ids", [_digest(each) for each in ids])

    def _entries(self, lines: Sequence[Line]) -> tuple[list[bytes], list[tuple[bytes, int]]]:
        """The ids of lines, and the hash of each of their keys with its offset."""
        of = self._of
        records = [(at.start, of.decode(at.body)) for at in lines if not is_blank(at.body)]
        ids = [_digest(of.id_of(record)) for _, record in records]
        return ids, [(_hash(key), at) for at, record in records for key in of.keys_of(record)]


def _digest(record_id: str) -> bytes:
    return hashlib.blake2b(record_id.encode(), digest_size=16).digest()


def _hash(key: Key) -> bytes:
    return hashlib.blake2b("\0".join(key).encode(), digest_size=8).digest()


def _place(key: bytes, number: int, offset: int) -> bytes:
    return _PLACE.pack(key, number, offset >> 32, offset & 0xFFFFFFFF)


def _bounds(key: bytes) -> tuple[bytes, bytes]:
    return key + bytes(10), key + b"\xff" * 10


def _crc(path: Path, start: int, end: int, crc: int = 0) -> int:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (read := file.read(min(_READ_BYTES, end - start))):
            crc, start = zlib.crc32(read, crc), start + len(read)
    return crc
