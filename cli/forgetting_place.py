"""Where people are forgotten: a workspace, its online store, and what else the commands know."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from redis import Redis

from cli.feast_repository import running_store
from cli.redis_process import SNAPSHOT, launch_redis
from cli.terminal import say
from intake.event import EVENT_FORMAT
from intake.journal_erasure import JournalErasure
from intake.posted.posted_row import ROW_FORMAT
from intake.workspace import Workspace

if TYPE_CHECKING:
    from forgetting.case import Surroundings


def complete_forgetting(workspace: Workspace) -> list[Path]:
    """Forget everybody who is to be forgotten; where the receipts are.

    Journals in which lines were being made blank when power was lost are whole afterwards.

    Raises
    ------
    FeastFusionError
        As `complete_requests`.
    """
    JournalErasure(workspace.events, EVENT_FORMAT).complete()
    JournalErasure(workspace.posted, ROW_FORMAT).complete()
    if not any((workspace.forgotten / "pending").glob("[!.]*")):
        return []
    from forgetting.erasure import complete_requests  # seconds to import

    with forgetting_place(workspace) as place:
        receipts = complete_requests(place)
    say(*(f"Forgotten; the audit found nothing: {path}" for path in receipts))
    return receipts


@contextmanager
def forgetting_place(workspace: Workspace) -> Iterator["Surroundings"]:
    """A workspace with its online store, which runs meanwhile."""
    from feast_fusion.redis_matrix import online_store_of
    from forgetting.case import Surroundings

    shared = os.environ.get("FUSION_VECTORS") or None
    if not workspace.registry.is_file():  # then nothing was ever put online
        yield Surroundings(workspace, None, shared, _opened_snapshot)
        return
    with running_store(workspace) as store:
        try:
            yield Surroundings(workspace, store, shared, _opened_snapshot)
        finally:
            online_store_of(store).disconnect()


@contextmanager
def _opened_snapshot(path: Path) -> Iterator[Redis]:
    """A server of its own on a copy of a snapshot."""
    with TemporaryDirectory() as folder:
        shutil.copyfile(path, Path(folder) / SNAPSHOT)
        running = launch_redis(Path(folder), None)
        try:
            with closing(Redis.from_url(running.url)) as client:
                yield client
        finally:
            running.stop()
