"""The event journal: what was acknowledged is there once, after a kill, a cut and a full disk."""

import json
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feast_fusion.errors import SchemaError, StoreUnavailableError
from intake.event import EVENT_FORMAT, EVENTS, Event
from intake.journal import Journal
from intake.journal_content import read_events, read_journal

T0 = 1_700_000_000_000_000

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
events = st.builds(
    Event,
    event_id=texts,
    user_id=texts,
    item_id=texts,
    time=st.integers(-(10**15), 2 * 10**15),
    value=st.floats(allow_nan=False, allow_infinity=False) | st.none(),
    event_type=texts | st.none(),
    received=st.integers(0, 2 * 10**15),
)


def event(number: int, **changed: object) -> Event:
    plain = Event(f"e{number}", f"u{number % 7}", f"i{number % 11}", T0, 4.0, None, T0 + number)
    return plain._replace(**changed)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def ids(folder: Path) -> list[str]:
    found: list[str] = read_journal(folder)["event_id"].to_pylist()
    return found


@settings(max_examples=40)
@given(batches=st.lists(st.lists(events, max_size=6), max_size=4))
def test_what_goes_in_comes_out_once_in_order_of_arrival(
    batches: list[list[Event]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal") / "events"
    first: dict[str, Event] = {}
    for batch in batches:
        with Journal(folder, EVENT_FORMAT) as journal:  # a new one must know all
            is_new = journal.append(batch)
        for each, new in zip(batch, is_new, strict=True):
            assert new is (each.event_id not in first)
            first.setdefault(each.event_id, each)
    assert read_events(folder) == sorted(first.values(), key=lambda each: each.received)
    table = read_journal(folder)
    assert table.schema == EVENTS
    assert table["event_timestamp"].cast(pa.int64()).to_pylist() == [
        each.time for each in read_events(folder)
    ]


def test_lines_are_json_that_other_tools_can_read(tmp_path: Path) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(1, user_id="客户1")])
    (line,) = only_file(tmp_path).read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["event"]["user_id"] == "客户1"


def test_without_a_journal_there_are_no_events(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none").equals(EVENTS.empty_table())
    Journal(tmp_path / "opened", EVENT_FORMAT).close()
    assert list((tmp_path / "opened").iterdir()) == []  # only an append makes a file


def test_concurrent_callers_share_a_sync_and_lose_nothing(tmp_path: Path) -> None:
    def send(caller: int) -> list[bool]:
        found = []
        for at in range(60):
            # every tenth event is sent by all callers: one of them is the first
            number = at if at % 10 == 0 else 1000 * (caller + 1) + at
            found += journal.append([event(number)])
        return found

    with Journal(tmp_path, EVENT_FORMAT) as journal, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert sum(map(sum, answers)) == 6 + 8 * 54
    assert len(ids(tmp_path)) == len(set(ids(tmp_path))) == 6 + 8 * 54
    groups = {json.loads(line)["group"] for line in only_file(tmp_path).read_bytes().splitlines()}
    assert len(groups) < 400  # of 480 appends: some shared


WRITER = """
import sys, threading
from pathlib import Path
from intake.event import EVENT_FORMAT, Event
from intake.journal import Journal

journal = Journal(Path(sys.argv[1]), EVENT_FORMAT)
lock = threading.Lock()

def send(caller):
    for n in range(10**6):
        batch = [Event(f"{sys.argv[2]}-{caller}-{n}-{k}", "u", "i", n, None, None, n)
                 for k in range(1 + n % 3)]
        journal.append(batch)
        with lock:
            sys.stdout.write("".join(each.event_id + chr(10) for each in batch))
            sys.stdout.flush()

for caller in range(8):
    threading.Thread(target=send, args=(caller,)).start()
"""


def write_and_kill(folder: Path, tag: str, planted: str = "") -> set[str]:
    """Two processes append with eight threads each until they are killed; what they were told."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", planted + WRITER, str(folder), f"{tag}{side}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in "ab"
    ]
    acknowledged: set[str] = set()
    for child in children:
        with child:
            assert child.stdout is not None
            acknowledged.update(child.stdout.readline().strip() for _ in range(300))
            child.send_signal(signal.SIGKILL)
            said = child.stdout.read()
            # the last word may be cut in its middle
            acknowledged.update(said[: said.rfind("\n") + 1].split())
    return acknowledged


def test_every_acknowledged_event_survives_a_kill_of_its_writers(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for attempt in range(3):
        acknowledged |= write_and_kill(tmp_path, f"{attempt}")
        found = ids(tmp_path)
        assert len(found) == len(set(found))
        assert acknowledged <= set(found)
        with Journal(tmp_path, EVENT_FORMAT) as journal:  # cuts off what is torn
            assert not any(journal.append([event(0, event_id=one) for one in acknowledged]))
        assert all(path.read_bytes().endswith(b"}\n") for path in tmp_path.glob("*.jsonl"))
    assert len(acknowledged) > 1500


# Told before it is written: what a kill then takes away.
EARLY = """
import threading, time
from intake import journal

write = journal.Journal._write

def write_later(self, bodies):
    threading.Timer(0.2, write, (self, bodies)).start()

journal.Journal._write = write_later
"""


def test_a_journal_that_acknowledges_too_early_is_found_out(tmp_path: Path) -> None:
    acknowledged = write_and_kill(tmp_path, "early", planted=EARLY)
    assert not acknowledged <= set(ids(tmp_path))


def truncate(data: bytes, cut: int) -> bytes:
    return data[:cut]


def zero(data: bytes, cut: int) -> bytes:
    """What a loss of power may leave of a group: pages in its middle were not written yet."""
    last = data.rindex(b"\n", 0, -1) + 1
    kept = data[last:] if cut < last else b""
    return data[:cut] + bytes(len(data) - cut - len(kept)) + kept


@pytest.mark.parametrize("tear", [truncate, zero])
def test_a_torn_last_group_is_ignored_and_cut_off(
    tmp_path: Path, tear: Callable[[bytes, int], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(1), event(2)])
        journal.append([event(3), event(4), event(5)])
    path = only_file(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    synced, kept = sum(map(len, lines[:2])), sum(map(len, lines[:3]))
    for cut in (synced + 3, kept + 30, len(whole) - 25):
        path.write_bytes(tear(whole, cut))
        caplog.clear()
        expected = [f"e{n}" for n in range(1, 6)][: whole[:cut].count(b"\n")]
        assert ids(tmp_path) == expected
        with Journal(tmp_path, EVENT_FORMAT) as journal:
            assert path.read_bytes() == b"".join(lines[: len(expected)])
            # said, and kept: it may have been an event that was damaged later
            (aside,) = tmp_path.glob("*.cut")
            assert aside.read_bytes() == tear(whole, cut)[path.stat().st_size :]
            assert [aside.name in record.message for record in caplog.records] == [True]
            assert journal.append([event(1), event(5)]) == [False, True]
        assert sorted(ids(tmp_path)) == sorted({*expected, "e5"})
        for other in set(tmp_path.iterdir()) - {path}:
            other.unlink()


@pytest.mark.parametrize("line", [1, 2, 3])
def test_damage_to_what_was_synced_names_file_and_line(tmp_path: Path, line: int) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        for number in range(4):
            journal.append([event(number)])
    path = only_file(tmp_path)
    data = path.read_bytes()
    at = sum(map(len, data.splitlines(keepends=True)[:line])) - 20
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(SchemaError, match=f"{path.name}: line {line}: got .* Restore"):
        read_journal(tmp_path)
    with pytest.raises(SchemaError, match=f"line {line}"):
        Journal(tmp_path, EVENT_FORMAT)
    assert len(path.read_bytes()) == len(data)


def test_a_file_that_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(1)])
        path = only_file(tmp_path)
        with path.open("ab") as file:
            file.write(b'{"crc":"00')  # half of a line that is on its way
        before = path.read_bytes()
        assert ids(tmp_path) == ["e1"]
        with Journal(tmp_path, EVENT_FORMAT) as other:
            assert path.read_bytes() == before
            assert other.append([event(1), event(2)]) == [False, True]
    assert ids(tmp_path) == ["e1", "e2"]


@contextmanager
def largest_file(n_bytes: int) -> Iterator[None]:
    """No file may grow beyond `n_bytes`: a write is then cut short and fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_acknowledges_nothing_and_the_next_append_works(tmp_path: Path) -> None:
    with Journal(tmp_path, EVENT_FORMAT) as journal:
        journal.append([event(1)])
        size = only_file(tmp_path).stat().st_size
        with largest_file(size + 50):
            with pytest.raises(StoreUnavailableError, match="Free space") as refused:
                journal.append([event(2), event(1)])
            assert str(tmp_path) in str(refused.value)
        assert journal.append([event(2), event(3)]) == [True, True]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2  # never again the file that failed
    assert ids(tmp_path) == ["e1", "e2", "e3"]


def test_all_who_share_a_failed_sync_are_told(tmp_path: Path) -> None:
    outcomes: list[object] = []

    def send(number: int) -> None:
        try:
            outcomes.append(journal.append([event(number), event(99)]))
        except StoreUnavailableError as error:
            outcomes.append(error)

    with Journal(tmp_path, EVENT_FORMAT) as journal:
        with largest_file(10):
            threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [type(each) for each in outcomes] == [StoreUnavailableError] * 6
        assert journal.append([event(99)]) == [True]
    assert ids(tmp_path) == ["e99"]


def test_a_process_that_writes_events_does_not_load_feast() -> None:
    program = "import sys, intake.journal; assert not {'feast', 'torch'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    journal = Journal(tmp_path, EVENT_FORMAT)
    journal.append([event(1)])
    journal.close()
    journal.close()
    with pytest.raises(StoreUnavailableError, match="closed"):
        journal.append([event(2)])
    assert ids(tmp_path) == ["e1"]
