"""One file of a journal: JSON lines with checksums, and where the sound part of it ends.

Each line carries a checksum, and the offset in its file at which its group began: the records that
were written and synced together. A group that begins after a damaged line proves that the line had
been synced, so it is damage, and an error. Without one the line most likely belongs to the last
write before a crash, which nobody was told about: the file ends before it, and what is cut off is
kept beside it and told, because it may as well have been damaged later.

A record that is erased is overwritten by a blank line of the same length: what is known by an
offset stays as it is.
"""

import fcntl
import logging
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import replaced_file, sync_path

_SUFFIX = ".jsonl"
_log = logging.getLogger(__name__)

# "event" in every journal, whatever its records are: so it was when there were events only.
_LINE = re.compile(rb'\{"crc":"([0-9a-f]{8})","group":(\d+),"event":(\{.*\})\}\n')


class Line(NamedTuple):
    """An encoded record, or a blank, which lies between two offsets of its file.

    `group` is the offset at which its group began.
    """

    start: int
    end: int
    body: bytes
    group: int


def format_line(group: int, body: bytes) -> bytes:
    """The line of an encoded record whose group begins at the offset `group`."""
    return b'{"crc":"%08x","group":%d,"event":%b}\n' % (_checksum(group, body), group, body)


def _checksum(group: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(b"%d" % group))


def _parse(line: bytes) -> tuple[int, bytes] | None:
    """Group and record of a whole and sound line, else None."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    group, body = int(found[2]), found[3]
    return (group, body) if int(found[1], 16) == _checksum(group, body) else None


def journal_files(folder: Path) -> list[Path]:
    """The files of a journal, in the order in which they were begun."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def sound_lines(path: Path, start: int = 0) -> Iterator[Line]:
    """The lines of a file from the offset `start` on, up to the end of the part that is sound.

    Raises
    ------
    SchemaError
        A line that had been synced is damaged.
    """
    damage: int | None = None  # offset of the first line that is not sound
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            parsed = _parse(line) or _parse(_read_again(path, start, len(line)))
            if parsed is None:
                damage = start if damage is None else damage
            elif damage is None:
                yield Line(start, start + len(line), parsed[1], parsed[0])
            elif parsed[0] > damage:
                raise _damaged(path, damage)
            start += len(line)


def read_line(path: Path, file: BinaryIO, start: int) -> bytes:
    """The encoded record at an offset of the file, which was sound; raises as `sound_lines`."""
    file.seek(start)
    line = file.readline()
    parsed = _parse(line) or _parse(_read_again(path, start, len(line)))
    if parsed is None:
        raise _damaged(path, start)
    return parsed[1]


def _read_again(path: Path, start: int, n_bytes: int) -> bytes:
    """A line that was not sound: it may have been made blank while it was read."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(n_bytes)


def make_blank(path: Path, lines: Iterable[Line]) -> None:
    """Overwrite lines by blanks, also while others append to the file; safe to repeat.

    All of it is on disk when this returns.
    """
    file = os.open(path, os.O_WRONLY)
    try:
        for line in lines:
            n_bytes = line.end - line.start - len(format_line(line.group, b""))
            blank = b"{%b}" % (b" " * (n_bytes - 2))
            os.pwrite(file, format_line(line.group, blank), line.start)
        os.fsync(file)
    finally:
        os.close(file)


def _damaged(path: Path, start: int) -> SchemaError:
    number = path.read_bytes()[:start].count(b"\n") + 1
    return schema_error(
        f"{path}: line {number}",
        got="a line that does not match its checksum, with later lines behind it",
        expected="the line as it was written",
        remedy="Restore the file from a backup, or remove that line if it is lost.",
    )


def try_lock(file: BinaryIO) -> bool:
    """Whether no writer of the file lives; it is locked then until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def cut_file(path: Path, file: BinaryIO, length: int) -> None:
    """Cut off what is torn behind `length`; it goes into a file whose name ends in .cut."""
    file.seek(length)
    cut, aside = file.read(), path.with_name(f"{path.stem}-{length}.cut")
    told = f"{path}: got {len(cut)} bytes at its end that are no whole line, expected a line"
    try:
        with replaced_file(aside, sync=True) as building:
            building.write_bytes(cut)
        file.truncate(length)
        os.fsync(file.fileno())
    except OSError as error:  # they do no harm where they are: nobody writes to this file any more
        _log.warning("%s. They could not be moved to %s: %s", told, aside.name, error)
    else:
        _log.warning(
            "%s. They are now in %s. A crash in the middle of a write leaves such bytes; if an "
            "event is missed, look there.",
            told,
            aside.name,
        )


def create_file(folder: Path) -> tuple[str, int]:
    """The name and descriptor of a new empty file, locked as long as its writer lives."""
    path = folder / f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    sync_path(folder)
    return path.name, file
