"""A forgetting that is killed, wherever it was, is completed by whatever runs next."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from feast_fusion.errors import SchemaError
from forgetting.pending_requests import Requests
from intake.event import EVENT_FORMAT
from intake.journal import Journal
from intake.journal_content import read_events
from intake.tombstones import Tombstones
from tests.conftest import Project
from tests.forgetting.known_person import append, event_of
from tests.serving.http.service_process import copy_project

PERSON = "u7"
# Which function is the last that a process comes to, and whether it still does its work.
POINTS = [
    ("intake.journal_erasure.make_blank", True),
    ("forgetting.places.history_rows.erase_rows", True),
    ("forgetting.pending_requests.Requests.close", False),
]
KILLED = """
import os, pkgutil, signal, sys
from feast_fusion.feast_command import import_lightly
import_lightly()
name, works, *arguments = sys.argv[1:]
where, _, attribute = name.rpartition(".")
owner = pkgutil.resolve_name(where)
function = getattr(owner, attribute)
def ended(*given, **named):
    if works == "True":
        function(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, attribute, ended)
from cli import main
main(arguments)
"""


def kill_at(project: Project, name: str, works: bool, *arguments: str) -> None:
    workspace = project.workspace
    places = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    command = [sys.executable, "-c", KILLED, name, str(works), "forget", *arguments, *places]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


def test_each_next_run_goes_on_and_the_last_completes_it(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    workspace = project.workspace
    append(project, [event_of(user, n) for user in (PERSON, "u8") for n in range(10)])
    for name, works in POINTS:
        kill_at(project, name, works, *([PERSON] if name is POINTS[0][0] else ["--resume"]))
        assert PERSON in Tombstones(workspace.forgotten)
        assert len(list((workspace.forgotten / "pending").glob("[!.]*"))) == 1
        assert not list((workspace.forgotten / "receipts").glob("*"))
        with Journal(workspace.events, EVENT_FORMAT):  # a service can start meanwhile
            assert {event.user_id for event in read_events(workspace.events)} == {"u8"}
    assert "found nothing left" in project.here("prepare").stdout
    assert len(list((workspace.forgotten / "receipts").glob("*"))) == 1
    sources, sinks = (
        workspace.sources.glob("user*.parquet"),
        workspace.sinks.glob("user*/*.parquet"),
    )
    for path in (*sources, *sinks):
        ids = pl.read_parquet(path, columns=["user_id"])["user_id"]
        assert PERSON not in ids
    assert "u8" in pl.read_parquet(workspace.source("interactions"))["user_id"]


def test_a_request_is_illegible_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    requests = Requests(tmp_path)
    digest = requests.ask("visitor-8c41f2")
    assert requests.ask("visitor-8c41f2") == digest
    path = tmp_path / "pending" / digest
    content = path.read_bytes()
    assert b"visitor" not in content and path.stat().st_mode & 0o077 == 0
    (request,) = Requests(tmp_path).pending()
    assert (request.user_id, request.evidence) == ("visitor-8c41f2", None)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(SchemaError, match=f"{path}.*damaged request"):
        requests.pending()
