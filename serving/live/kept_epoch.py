"""The epoch of the Redis that last had all, in a file beside the journal: Redis cannot lose it."""

from contextlib import suppress
from pathlib import Path

from feast_fusion.files import replaced_file

_FILE = "redis.epoch"


def kept_epoch(folder: Path) -> str | None:
    """The epoch that a process kept last, of any process; None before the first."""
    try:
        return (folder / _FILE).read_text(encoding="utf-8")
    except OSError:
        return None


def keep_epoch(folder: Path, epoch: str) -> None:
    """Keeps the epoch, where it can; without a journal there is nothing to make good from."""
    if folder.is_dir():
        with suppress(OSError), replaced_file(folder / _FILE) as building:
            building.write_text(epoch, encoding="utf-8")
