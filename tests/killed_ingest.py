"""`feast-fusion ingest --follow`, killed once it has taken in its first events."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from intake.event import EVENT_FORMAT
from intake.journal_content import read_content
from tests.conftest import Project
from tests.waiting import wait_until


def journaled(project: Project) -> pa.Table:
    """The events of the journal."""
    return read_content(project.workspace.events, EVENT_FORMAT).records


def ingest_until_killed(project: Project, *source: str) -> None:
    command = [str(Path(sys.executable).parent / "feast-fusion"), "ingest", *source, "--follow"]
    where = {
        "FUSION_DATASET": str(project.workspace.dataset.path),
        "FUSION_HOME": str(project.workspace.home),
    }
    process = subprocess.Popen(command, env=os.environ | where, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(journaled(project)), "the first events")
    finally:
        process.kill()
        process.wait()
