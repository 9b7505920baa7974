"""An id that nobody has is told, and never taken for somebody who was erased."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from cli.forgetting_child import ForgettingChild
from feast_fusion.sealed_json import read_json
from forgetting.near_ids import near_ids
from forgetting.pending_requests import Requests
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.tombstones import Tombstones
from intake.workspace import open_workspace
from tests.conftest import Project
from tests.datasets import make_films
from tests.forgetting.known_person import event_of
from tests.serving.http.service_process import copy_project


@pytest.fixture(scope="module")
def copied(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("mistyped") / "home")


def is_there(project: Project, user_id: str) -> bool:
    rows = pl.read_parquet(project.workspace.source("interactions"), columns=["user_id"])
    return user_id in rows["user_id"]


@pytest.mark.parametrize("users", [["U7"], ["u7", "nobody", "none"]])
def test_nothing_is_erased_where_one_is_unknown(copied: Project, users: list[str]) -> None:
    said = copied.here("forget", *users, fails=True).stderr
    unknown = [user for user in users if user != "u7"]
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    assert f"nothing is kept of {unknown[0]!r}{more} in {copied.workspace.root}" in said
    assert ("Known are 'u7'" in said) is (unknown == ["U7"])
    assert is_there(copied, "u7")
    assert not copied.workspace.forgotten.exists(), "no tombstone and no request"


def test_an_export_of_nothing_says_so(copied: Project, tmp_path: Path) -> None:
    said = copied.here("export", "U7", "--out", str(tmp_path / "out")).stdout
    assert "Nothing is kept of 'U7'. Known are 'u7'." in said
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_one_who_may_come_later_is_refused_when_asked_for(copied: Project) -> None:
    workspace = copied.workspace
    printed = copied.here("forget", "later", "--even-unknown").stdout
    assert "Forgotten: nothing was kept." in printed
    assert "later" in Tombstones(workspace.forgotten)
    (receipt,) = (workspace.forgotten / "receipts").glob("*.json")
    assert read_json(receipt)["rows_kept"] == 0
    copied.here("forget", "later")  # who was forgotten before is known
    assert ForgettingChild(workspace).remove("later").found is False


def test_a_service_says_whether_anything_was_kept(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    workspace = open_workspace(description, tmp_path / "home")
    requests = Requests(workspace.forgotten)
    for user_id, n_rows in (("u1", 30), ("nobody", 0)):
        requests.tombstones.add(user_id)
        requests.close(requests.ask(user_id), {"rows_kept": n_rows})
        answer = ForgettingChild(workspace).remove(user_id)
        assert (answer.status, answer.found) == ("forgotten", n_rows > 0)


def test_at_a_terminal_it_asks(copied: Project) -> None:
    workspace = copied.workspace
    named = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    ours, theirs = pty.openpty()
    os.write(ours, b"\n")  # no is what Enter says
    command = [Path(sys.executable).parent / "feast-fusion", "forget", "u7", "u8", *named]
    done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False)
    for end in (ours, theirs):
        os.close(end)
    assert done.returncode == 1
    assert "rows of u7, u8? [y/N]" in done.stderr and done.stderr.startswith("Erase ")
    assert is_there(copied, "u7") and "u7" not in Tombstones(workspace.forgotten)


def test_ids_that_are_near(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    workspace = open_workspace(description, tmp_path / "home")
    ids = ["ana@example.org", "anna@example.org", "bob@example.org", "7", "u7", "u71", "Ülle"]
    with Journal(workspace.events, EVENT_FORMAT) as journal:
        journal.append([event_of(user_id, n) for n, user_id in enumerate(ids)])
    assert near_ids(workspace, "Ana@Example.org") == ["ana@example.org", "anna@example.org"]
    assert near_ids(workspace, "bbo@exmaple.org") == ["bob@example.org"]
    assert near_ids(workspace, "U71") == ["u71", "u7"]
    assert near_ids(workspace, "8") == []
    assert near_ids(workspace, "ülle") == ["Ülle"]
    assert near_ids(workspace, "'; DROP TABLE ids; --") == []
