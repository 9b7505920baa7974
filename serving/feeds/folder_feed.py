"""The files of a folder as a feed: each is read once, and again when it has changed."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path

from feast_fusion.errors import SchemaError
from feast_fusion.files import private_folder
from feast_fusion.sealed_json import read_json, write_json
from intake.tables.data_files import files_in
from intake.workspace import Workspace
from serving.feeds.fed_rows import read_file_rows
from serving.feeds.feed import BATCH_ROWS, Batch

_LOOK_S = 1.0

Version = list[int]  # size, time of the last change in ns


class FolderFeed:
    """The files of events in a folder and below it, in the order of their names.

    A file that grows or is replaced is read again, and what is new in it is taken in. Files whose
    name begins with a dot or an underscore are left alone: write a file under such a name, and
    rename it when it is whole.

    Parameters
    ----------
    follow : go on looking for new files
    failed : told of a file that cannot be read; it is tried again when it has changed
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        *,
        follow: bool,
        failed: Callable[[SchemaError], object],
    ) -> None:
        self._dataset, self._folder = workspace.dataset, folder.resolve()
        self._follow, self._failed = follow, failed
        name = blake2b(str(self._folder).encode(), digest_size=8).hexdigest()
        self._place = workspace.ingested / f"{name}.json"
        self._done: dict[str, Version] = {}
        if self._place.exists():
            self._done = read_json(self._place)["files"]
        self._tried: dict[str, Version] = {}

    def batches(self, stop: threading.Event) -> Iterator[Batch]:
        """See `Feed.batches`."""
        while True:
            for file in files_in(self._folder):
                name, version = str(file.path.relative_to(self._folder)), _version(file.path)
                if version not in (self._done.get(name), self._tried.get(name)):
                    self._tried[name] = version
                    yield from self._file(file.path, name, version, stop)
            if not self._follow or stop.wait(_LOOK_S):
                return

    def _file(
        self, path: Path, name: str, version: Version, stop: threading.Event
    ) -> Iterator[Batch]:
        try:
            rows = read_file_rows(self._dataset, path, name, datetime.now(UTC))
        except SchemaError as error:
            self._failed(error)
            return
        for at in range(0, max(1, len(rows)), BATCH_ROWS):
            if stop.is_set():
                return
            is_last = at + BATCH_ROWS >= len(rows)
            done = partial(self._keep, name, version) if is_last else _nothing
            yield Batch(rows[at : at + BATCH_ROWS], done)

    def _keep(self, name: str, version: Version) -> None:
        self._done[name] = version
        private_folder(self._place.parent)
        write_json(self._place, {"folder": str(self._folder), "files": self._done})


def _nothing() -> None:
    """A part of a file is no place to go on from: its rows are duplicates when they come again."""


def _version(path: Path) -> Version:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
