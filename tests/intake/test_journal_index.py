"""The journal's index and archive: what is known of a million events without reading them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from feast_fusion.errors import SchemaError
from intake import journal, journal_archive, journal_index
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.journal_content import read_content, read_journal
from intake.journal_index import JournalIndex
from tests.intake.test_journal import event, only_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal of 40 events whose writer is gone; the last ones came when a new one had begun."""
    monkeypatch.setattr(journal, "_INDEX_RECORDS", 7)
    monkeypatch.setattr(journal_index, "_PIECE", 5)
    monkeypatch.setattr(journal_archive, "_PIECE", 5)
    folder = tmp_path / "events"
    with Journal(folder, EVENT_FORMAT) as opened:
        for number in range(40):
            if number == 30:
                opened.begin_file()
            opened.append([event(number)])
    return folder


def is_known(folder: Path, *numbers: int) -> list[bool]:
    with Journal(folder, EVENT_FORMAT) as opened:
        return [not new for new in opened.append([event(number) for number in numbers])]


def lose(index: Path) -> None:
    for path in index.parent.glob(f"{index.name}*"):
        path.unlink()


def garble(index: Path) -> None:
    index.write_bytes(b"no database" * 1000)


def test_what_is_indexed_is_known_without_being_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a file that is indexed was read")

    for name in ("sound_lines", "_crc"):
        monkeypatch.setattr(journal_index, name, read)
    assert is_known(folder, 3, 17, 39) == [True] * 3


@pytest.mark.parametrize("harm", [lose, garble])
def test_an_index_that_is_lost_or_damaged_is_made_anew(
    folder: Path, harm: Callable[[Path], None]
) -> None:
    harm(folder / ".index.sqlite")
    assert is_known(folder, 3, 39, 40) == [True, True, False]
    harm(folder / ".index.sqlite")
    assert JournalIndex(folder, EVENT_FORMAT).archive(read_content(folder, EVENT_FORMAT).ends) == 3
    harm(folder / ".index.sqlite")
    assert is_known(folder, 3, 39, 40, 41) == [True, True, True, False]


def test_an_index_that_is_damaged_while_it_is_used_stops_no_event(folder: Path) -> None:
    with Journal(folder, EVENT_FORMAT) as opened:
        garble(folder / ".index.sqlite")
        assert opened.append([event(50)]) == [True]
        assert opened.append([event(50)]) == [False]
    assert is_known(folder, 3, 50) == [True, True]


def test_events_of_some_keys_are_found_where_they_are(folder: Path) -> None:
    index = JournalIndex(folder, EVENT_FORMAT)
    keys = [("user", "u3"), ("item", "i5"), ("user", "nobody")]
    wanted = [each for each in map(event, range(40)) if {"u3", "i5"} & {*each[1:3]}]
    assert sorted(index.records_of(keys, {})) == sorted(wanted)
    n_of = {key: sum(key[1] in each for each in wanted) for key in keys}
    ends = read_content(folder, EVENT_FORMAT).ends
    assert index.count_between(keys, {}, ends) == list(n_of.values())
    assert index.count_between(keys, ends, ends) == [0, 0, 0]
    assert index.records_of(keys, ends) == []
    with Journal(folder, EVENT_FORMAT) as opened:  # another one, which has not indexed it yet
        opened.append([event(41, user_id="u3")])
        assert [each.event_id for each in index.records_of(keys[:1], ends)] == ["e41"]
        assert index.records_of(keys[:1], ends, tails=False) == []


def test_pieces_begin_where_they_are_told_to(folder: Path) -> None:
    index, ends = JournalIndex(folder, EVENT_FORMAT), dict[str, int]()
    first, second = (path.name for path in sorted(folder.glob("*.jsonl")))
    pieces = index.pieces_behind({first: 10**9}, ends)
    assert [each.event_id for piece in pieces for each in piece] == [f"e{n}" for n in range(30, 40)]
    assert ends == {second: read_content(folder, EVENT_FORMAT).ends[second]}
    assert list(index.pieces_behind(read_content(folder, EVENT_FORMAT).ends, ends)) == []


def test_what_is_archived_is_read_and_known_as_before(folder: Path) -> None:
    before = read_content(folder, EVENT_FORMAT)
    written = Journal(folder, EVENT_FORMAT)
    written.append([event(50)])
    prepared = read_content(folder, EVENT_FORMAT).ends
    written.append([event(51)])  # its writer lives, and it is not prepared
    _, second, _ = sorted(folder.glob("*.jsonl"))
    prepared[second.name] -= 1  # one event of it is not
    index = JournalIndex(folder, EVENT_FORMAT)
    assert index.archive(prepared) == 1
    assert len([*folder.glob("*.jsonl")]) == 2
    assert index.archive(before.ends) == 1  # again, by another preparation
    written.close()
    assert only_file(folder)
    found = read_content(folder, EVENT_FORMAT)
    assert found.records.slice(0, 40).equals(before.records)
    assert found.records["event_id"].to_pylist()[40:] == ["e50", "e51"]
    assert before.ends.items() <= found.ends.items()
    assert index.records_of([("user", "u3")], {}) == []
    assert is_known(folder, 3, 39, 50, 60) == [True, True, True, False]
    removed = index.pieces_between({}, before.ends)
    assert [each.event_id for piece in removed for each in piece] == [f"e{n}" for n in range(40)]


def test_a_kill_while_archiving_loses_and_doubles_nothing(folder: Path, tmp_path: Path) -> None:
    before = read_content(folder, EVENT_FORMAT)
    copy = shutil.copytree(folder, tmp_path / "copy")
    JournalIndex(folder, EVENT_FORMAT).archive(before.ends)
    for path in copy.glob("*.jsonl"):  # what is there when it ends before it removes a file
        shutil.copy2(path, folder)
    assert read_content(folder, EVENT_FORMAT).records.equals(before.records)
    for index in (folder / ".index.sqlite", folder / ".none"):
        assert is_known(folder, 3, 39) == [True, True]
        lose(index)
    assert JournalIndex(folder, EVENT_FORMAT).archive(before.ends) == 2
    assert read_journal(folder).equals(before.records)


def test_a_damaged_archive_is_named(folder: Path) -> None:
    JournalIndex(folder, EVENT_FORMAT).archive(read_content(folder, EVENT_FORMAT).ends)
    path = sorted((folder / "archive").iterdir())[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    with pytest.raises(SchemaError, match=f"{path.name}: got .* Restore"):
        read_journal(folder)
