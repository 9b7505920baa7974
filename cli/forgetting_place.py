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
from feast_fusion.sealed_json import read_json
from intake.event import EVENT_FORMAT
from intake.posted.posted_row import ROW_FORMAT
from intake.workspace import Workspace

if TYPE_CHECKING:
    from forgetting.case import Surroundings


def complete_forgetting(workspace: Workspace) -> list[Path]:
    """Forget everybody who is to be forgotten; where the receipts are.

    Raises
    ------
    FeastFusionError
        As `complete_requests`.
    """
    complete_journals(workspace)
    if not any((workspace.forgotten / "pending").glob("[!.]*")):
        return []
    from forgetting.erasure import complete_requests  # seconds to import

    with forgetting_place(workspace) as place:
        receipts = complete_requests(place)
    say(*_told(receipts))
    return receipts


def complete_journals(workspace: Workspace) -> None:
    """Make journals whole in which lines were being made blank when power was lost."""
    from intake.journal_erasure import JournalErasure  # half a second to import

    JournalErasure(workspace.events, EVENT_FORMAT).complete()
    JournalErasure(workspace.posted, ROW_FORMAT).complete()


def _told(receipts: list[Path]) -> Iterator[str]:
    """What the receipts of one run say, for people."""
    if not receipts:
        return
    read = [read_json(path) for path in receipts]
    erased = [n for n in read[-1]["erased_of_this_run"].values() if n]
    searched = read[-1]["audit"]
    is_known = any(each["rows_kept"] for each in read)
    rows = f"{sum(erased):,} rows in {len(erased)} places" if is_known else "nothing was kept"
    yield (
        f"Forgotten: {rows}. The audit searched {searched['files']:,} files and "
        f"{searched['redis_keys']:,} keys of Redis, and found nothing left."
    )
    for path in receipts:
        yield f"Receipt: {path}"


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
