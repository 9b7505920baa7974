"""Names of those at work in a folder, who may be killed at any time and are then known to be dead.

Each holds the lock of a file of its own for as long as it lives; the kernel lets go of it when the
process ends, however it ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout


@contextmanager
def alive(folder: Path) -> Iterator[str]:
    """A new name, which lives until the end of the block; the folder is created when absent."""
    name = uuid4().hex
    folder.mkdir(parents=True, exist_ok=True)
    path = _path(folder, name)
    with FileLock(path):
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)


def lives(folder: Path, name: str) -> bool:
    """Whether whoever has the name lives; what a dead one left is removed."""
    path = _path(folder, name)
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            path.unlink(missing_ok=True)
    except Timeout:
        return True
    return False


def anybody_lives(folder: Path) -> bool:
    """Whether anybody does. Callers see to it that nobody comes meanwhile."""
    return any(lives(folder, path.stem) for path in folder.glob("*.lock"))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
