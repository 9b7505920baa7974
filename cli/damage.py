"""What earlier commands left and is damaged now: set aside, so that `run` makes it anew."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

from cli.feast_repository import is_damaged_registry
from cli.redis import redis_url
from cli.redis_process import SNAPSHOT, is_damaged_snapshot
from feast_fusion.errors import SchemaError
from feast_fusion.files import set_aside
from feast_fusion.parquet.opening import local_files
from feast_fusion.sealed_json import read_json
from intake.workspace import Workspace

_READ_ROWS = 4096


def set_damage_aside(workspace: Workspace) -> Iterator[str]:
    """A line per damaged file: of sinks, registry, promotions, the snapshot of the embedded Redis.

    `feast apply` makes the registry again, and training promotes its version. `feast materialize`
    makes the rows that a sink or Redis lacks; nothing is encoded again for them. Nothing is
    deleted.
    """
    for path in sorted(workspace.sinks.glob("*/[!._]*.parquet")):
        if _is_damaged_part(path):
            yield _set_aside(path)
    if workspace.registry.is_file() and is_damaged_registry(workspace):
        yield _set_aside(workspace.registry)
    if workspace.promoted.is_file() and _is_damaged_json(workspace.promoted):
        yield _set_aside(workspace.promoted)
    snapshot = workspace.redis / SNAPSHOT
    if snapshot.is_file() and redis_url(workspace) is None and is_damaged_snapshot(snapshot):
        yield _set_aside(snapshot)


def _set_aside(path: Path) -> str:
    return f"{path} was damaged: it is made anew. The damaged file is {set_aside(path).name}."


def _is_damaged_json(path: Path) -> bool:
    try:
        read_json(path)
    except SchemaError:
        return True
    return False


def _is_damaged_part(path: Path) -> bool:
    try:
        (file,) = local_files(path, str(path)).files
        read = file.scan(file.groups, file.schema.names, _READ_ROWS, use_threads=False)
        deque(read, maxlen=0)
    except SchemaError:
        return True
    return False
