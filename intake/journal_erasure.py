"""Records taken out of a journal for good: of users who were forgotten, or too old to be kept.

A record in a file becomes a blank line, whoever writes to the file meanwhile; an archived file is
written anew without it. So offsets stay valid, and other records stay as they are to the byte.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Generic

import pyarrow as pa

from feast_fusion.files import replaced_file
from feast_fusion.sealed_json import read_json, write_json
from intake.journal_archive import archive_files, read_archived, rewrite_archived
from intake.journal_file import Line, journal_files, make_blank, sound_lines
from intake.journal_index import JournalIndex
from intake.record_format import R, RecordFormat, is_blank

_NOTED = ".erasing.json"  # where lines are being made blank: offsets only

# Lines to be made blank, by the name of their file.
Lines = Mapping[str, Sequence[Line]]


class JournalErasure(Generic[R]):
    """Takes records out of the journal in `folder`.

    All methods raise SchemaError where a file of the journal is damaged.
    """

    def __init__(self, folder: Path, of: RecordFormat[R]) -> None:
        self._folder, self._of = folder, of
        self._noted = folder / _NOTED

    def find_lines(self, is_erased: Callable[[R], bool], hint: bytes = b"") -> Lines:
        """The lines of records that are to go, up to the end of each file as it is now.

        Parameters
        ----------
        hint : what every one of these lines contains
        """
        found = {
            path.name: [
                line
                for line in sound_lines(path)
                if hint in line.body
                and not is_blank(line.body)
                and is_erased(self._of.decode(line.body))
            ]
            for path in journal_files(self._folder)
        }
        return {name: lines for name, lines in found.items() if lines}

    def erase_lines(self, lines: Lines) -> int:
        """Make lines blank, in the files and in the index; how many."""
        if lines:
            self._note(lines)
            with closing(JournalIndex(self._folder, self._of)) as index:
                for name, some in lines.items():
                    if (path := self._folder / name).exists():  # else it was archived meanwhile
                        make_blank(path, some)
                        index.forget(path, some)
            self._noted.unlink()
        return sum(map(len, lines.values()))

    def complete(self) -> None:
        """Make blank what was to be when a process was killed, or power was lost in mid-line."""
        if self._noted.is_file():
            for name, places in read_json(self._noted)["lines"].items():
                if (path := self._folder / name).exists():
                    make_blank(path, [Line(start, end, b"", at) for start, end, at in places])
            self._noted.unlink()

    def _note(self, lines: Lines) -> None:
        places = {name: [(at.start, at.end, at.group) for at in lines[name]] for name in lines}
        with replaced_file(self._noted, sync=True) as building:
            write_json(building, {"lines": places})

    def erase_archived(self, is_erased: Callable[[R], bool]) -> int:
        """Write archived files anew without some of their records; how many those were."""
        n_erased = 0
        with closing(JournalIndex(self._folder, self._of)) as index:
            for path in archive_files(self._folder):
                records = self._of.to_records(read_archived(path))
                gone = [record for record in records if is_erased(record)]
                if gone:
                    kept = [record for record in records if not is_erased(record)]
                    rewrite_archived(path, self._of.to_table(kept))
                    index.forget_ids([self._of.id_of(record) for record in gone])
                    n_erased += len(gone)
        return n_erased

    def erase_cut(self, user_id: str) -> int:
        """Remove what was cut off torn ends of files where it names a user; how many files."""
        named = json.dumps(user_id, ensure_ascii=False).encode()
        found = [path for path in self._folder.glob("*.cut") if named in path.read_bytes()]
        for path in found:
            path.unlink()
        return len(found)

    def of_user(self, user_id: str) -> pa.Table:
        """All records of a user, archived or not, of the schema of the format."""
        lines = self.find_lines(lambda record: self.is_of(user_id, record))
        records = [self._of.decode(line.body) for some in lines.values() for line in some]
        for path in archive_files(self._folder):
            archived = self._of.to_records(read_archived(path))
            records += [record for record in archived if self.is_of(user_id, record)]
        return self._of.to_table(records)

    def is_of(self, user_id: str, record: R) -> bool:
        """Whether a record is of a user."""
        return ("user", user_id) in self._of.keys_of(record)
