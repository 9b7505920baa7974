"""`feast-fusion backup` and `restore`: all of it, checked, never over what is there."""

import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli import main
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.journal_archive import archive_prepared
from intake.journal_content import read_journal
from intake.journal_file import journal_files
from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films
from tests.intake.test_journal import event


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    description = make_films(tmp_path / "data", n_users=12, n_items=25, n_events=400)
    found = open_workspace(description, tmp_path / "home")
    assert call("prepare", found).exit_code == 0
    with closing(sqlite3.connect(found.registry)) as registry:
        registry.execute("CREATE TABLE views (name TEXT)")
        registry.execute("INSERT INTO views VALUES ('item_stats')")
        registry.commit()
    with Journal(found.events, EVENT_FORMAT) as journal:
        journal.append([])
    (found.root / "redis").mkdir()
    (found.root / "redis" / "redis.json").write_text("a password")
    return found


def call(command: str, workspace: Workspace, *arguments: str, home: Path | None = None) -> Result:
    named = ["--dataset", str(workspace.dataset.path), "--home", str(home or workspace.home)]
    return CliRunner().invoke(main, [command, *named, *arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".lock", ".db")
    }


def test_what_is_restored_is_what_was_backed_up(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "films.tar"
    before = contents(workspace.root)
    assert call("backup", workspace, str(file)).exit_code == 0
    assert file.stat().st_mode & 0o077 == 0
    assert "No such" not in call("backup", workspace, str(file)).output
    other = tmp_path / "other"
    done = call("restore", workspace, str(file), home=other)
    assert done.exit_code == 0, done.output
    del before["redis/redis.json"]
    assert contents(other / "films") == before
    with closing(sqlite3.connect(other / "films" / "registry.db")) as registry:
        assert registry.execute("SELECT name FROM views").fetchall() == [("item_stats",)]
    assert read_journal(other / "films" / "events").equals(read_journal(workspace.events))
    refused = call("restore", workspace, str(file))
    assert refused.exit_code == 1
    assert "Move it away, or restore into another --home" in " ".join(refused.output.split())


def test_a_damaged_backup_puts_nothing_in_place(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "films.tar"
    call("backup", workspace, str(file))
    whole = file.read_bytes()
    with tarfile.open(file) as archive:
        member = archive.getmember("sources/interactions.parquet")
    shutil.rmtree(workspace.root)
    flipped = bytearray(whole)
    flipped[member.offset_data + member.size // 2] ^= 1
    for content in (bytes(flipped), whole[: len(whole) // 2], b"no archive", b""):
        file.write_bytes(content)
        refused = call("restore", workspace, str(file))
        assert refused.exit_code == 1
        assert "It is damaged or no backup" in " ".join(refused.output.split())
        assert not workspace.root.exists()
    file.write_bytes(whole)
    assert call("restore", workspace, str(file)).exit_code == 0


def test_no_event_is_missing_where_the_journal_is_archived_meanwhile(
    workspace: Workspace, tmp_path: Path
) -> None:
    n_files = 60
    for number in range(n_files):
        with Journal(workspace.events, EVENT_FORMAT) as journal:
            journal.append([event(number)])
    ends = {path.name: path.stat().st_size for path in journal_files(workspace.events)}
    names = iter(ends)
    n_seen = []
    while left := len(journal_files(workspace.events)):
        some = {name: ends[name] for name in islice(names, 8)}
        archiving = threading.Thread(
            target=archive_prepared, args=(workspace.events, EVENT_FORMAT, some, lambda path: None)
        )
        archiving.start()
        file, home = tmp_path / f"{left}.tar", tmp_path / f"home-{left}"
        assert call("backup", workspace, str(file)).exit_code == 0
        archiving.join()
        assert call("restore", workspace, str(file), home=home).exit_code == 0
        n_seen.append(len(read_journal(home / "films" / "events")))
    assert n_seen == [n_files] * len(n_seen) and len(n_seen) > 5
