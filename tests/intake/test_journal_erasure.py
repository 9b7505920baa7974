"""Records leave a journal for good, and nothing that is known of the others changes."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal
from intake.journal_archive import archive_files
from intake.journal_content import read_content, read_events
from intake.journal_erasure import JournalErasure
from intake.journal_file import Line, journal_files, make_blank
from intake.journal_index import JournalIndex
from tests.intake.test_journal import event

GONE = "u3"


def is_gone(record: Event) -> bool:
    return record.user_id == GONE


def erase(folder: Path) -> int:
    journal = JournalErasure(folder, EVENT_FORMAT)
    return journal.erase_lines(journal.find_lines(is_gone)) + journal.erase_archived(is_gone)


def test_lines_go_while_others_write_and_no_other_byte_changes(tmp_path: Path) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(number) for number in range(50)])
        (path,) = journal_files(tmp_path)
        before = path.read_bytes()
        assert erase(tmp_path) == 7
        after = path.read_bytes()
        assert journal.append([event(number) for number in range(50, 60)]) == [True] * 10
        assert journal.append([event(7)]) == [False]  # one of another user, twice
    assert len(after) == len(before)
    for old, new in zip(before.splitlines(), after.splitlines(), strict=True):
        assert (old == new) is (b'"u3"' not in old)
        assert b"u3" not in new and b'e3"' not in new
    expected = [event(n) for n in range(60) if (n < 50 and n % 7 != 3) or n >= 50]
    found = [each for each in read_events(tmp_path) if each.event_id != "e3"]
    assert found == expected
    assert read_content(tmp_path, EVENT_FORMAT).ends[path.name] == path.stat().st_size


def test_the_index_has_nothing_of_them_and_stays_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(number) for number in range(50)])
    index = JournalIndex(tmp_path, EVENT_FORMAT)
    with closing(index):
        index.catch_up()
        keys = [("user", GONE), ("user", "u4"), ("item", "i3")]
        ends = index.indexed()
        assert index.count_between(keys, {}, ends) == [7, 7, 5]
        erase(tmp_path)
        left = [event(n) for n in range(50) if n % 11 == 3 and n % 7 != 3]
        assert index.count_between(keys, {}, ends) == [0, 7, len(left)]
        assert index.records_of([("item", "i3")], {}) == left
        assert index.contains(["e3", "e4"]) == [False, True]
    monkeypatch.setattr("intake.index_file.IndexFile.discard", lambda self: pytest.fail("anew"))
    with closing(JournalIndex(tmp_path, EVENT_FORMAT)) as again:
        again.catch_up()
        assert again.indexed() == ends


def test_archived_records_go_and_the_archive_still_stands_for_its_file(tmp_path: Path) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(number) for number in range(50)])
    ends = read_content(tmp_path, EVENT_FORMAT).ends
    with closing(JournalIndex(tmp_path, EVENT_FORMAT)) as index:
        assert index.archive(ends) == 1
        assert erase(tmp_path) == 7
        assert index.contains(["e3", "e4"]) == [False, True]
    assert len(archive_files(tmp_path)) == 1
    content = read_content(tmp_path, EVENT_FORMAT)
    assert content.ends == ends
    assert EVENT_FORMAT.to_records(content.records) == [event(n) for n in range(50) if n % 7 != 3]


def test_a_line_that_a_loss_of_power_tore_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        for number in range(10):
            journal.append([event(number)])

    def torn(path: Path, lines: list[Line]) -> None:
        with path.open("r+b") as file:
            file.seek(lines[0].start + 40)
            file.write(b" " * 20)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("intake.journal_erasure.make_blank", torn)
        with pytest.raises(KeyboardInterrupt):
            erase(tmp_path)
    with pytest.raises(SchemaError, match="line 4"):
        read_events(tmp_path)
    JournalErasure(tmp_path, EVENT_FORMAT).complete()
    assert read_events(tmp_path) == [event(n) for n in range(10) if n != 3]
    assert not list(tmp_path.glob(".erasing*"))


def test_what_was_cut_off_goes_where_it_names_the_user(tmp_path: Path) -> None:
    theirs, other = tmp_path / "1-10.cut", tmp_path / "2-10.cut"
    theirs.write_bytes(b'{"crc":"00","group":0,"event":{"event_id":"e","user_id":"u3","it')
    other.write_bytes(b'{"crc":"00","group":0,"event":{"event_id":"e","user_id":"u33","i')
    assert JournalErasure(tmp_path, EVENT_FORMAT).erase_cut(GONE) == 1
    assert not theirs.exists() and other.exists()


def test_a_reader_beside_an_erasure_sees_no_damage(tmp_path: Path) -> None:
    """A line that was half blank when it was read is read again."""
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        for number in range(10):
            journal.append([event(number)])
    (path,) = journal_files(tmp_path)
    found = JournalErasure(tmp_path, EVENT_FORMAT).find_lines(is_gone)
    with path.open("rb") as file:
        line = found[path.name][0]
        half = path.read_bytes()
        torn = half[: line.start + 60] + b" " * 10 + half[line.start + 70 :]
        path.write_bytes(torn)
        file.read(1)  # into the buffer of the reader
        make_blank(path, [line])
    assert json.loads(path.read_bytes().splitlines()[3])["event"] == {}
    assert len(read_events(tmp_path)) == 9
