"""A file or folder replaced all or nothing: readers see the old one or the new one, never half."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock


def private_folder(folder: Path) -> Path:
    """The folder, created where it is absent; one that is created is its owner's only to enter.

    So are the folders above it that are created.
    """
    if not folder.is_dir():
        private_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)
    return folder


@contextmanager
def replaced_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A hidden path to write to, which takes the place of `path` when the block succeeds.

    A block that fails leaves `path` as it was. `sync` : the content and the name are on disk,
    safe from a loss of power, when the block ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    building = _hidden(path, f"{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield building
        if sync:
            sync_path(building)
        building.replace(path)
        if sync:
            sync_path(path.parent)
    finally:
        building.unlink(missing_ok=True)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to build in, which takes the place of `folder` when the block succeeds.

    One process at a time builds; the next one waits. A block that fails leaves `folder` as it was.
    A process killed in the middle of the exchange leaves the old folder beside it, where
    `recover_folder` and the next `replaced_folder` put it back.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building, retired = _hidden(folder, "new.tmp"), _hidden(folder, "retired")
    with _locked(folder):
        _recover(folder)
        shutil.rmtree(building, ignore_errors=True)  # of a killed process
        try:
            building.mkdir()
            yield building
            if folder.exists():
                folder.rename(retired)
            building.rename(folder)
            shutil.rmtree(retired, ignore_errors=True)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Put `folder` back if a process was killed while it replaced it; else change nothing."""
    if not _hidden(folder, "retired").is_dir():
        return
    with _locked(folder):
        _recover(folder)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that a new one can be made; its hidden name beside it."""
    return path.rename(_hidden(path, f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"))


def sync_path(path: Path) -> None:
    """Bring a file's content, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps others from replacing a folder, which may be a user's: nothing stays beside it.

    Whoever waits for the lock meanwhile has the removed file open. `FileLock` sees that this file
    has no name any more, and starts over with a new one.
    """
    path = _hidden(folder, "lock")
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _recover(folder: Path) -> None:
    retired = _hidden(folder, "retired")
    if retired.is_dir() and not folder.exists():
        retired.rename(folder)
    shutil.rmtree(retired, ignore_errors=True)


def _hidden(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{state}")
