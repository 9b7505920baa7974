"""Snapshots that no reader needs any more, and the files that only they named."""

from collections.abc import Iterator
from datetime import datetime

from pyarrow import fs
from pyiceberg.table import Table

from feast_fusion.tables.iceberg_table import filesystem_of
from feast_fusion.tables.replacement import alone
from feast_fusion.tables.staged_files import data_place


def expire_table(table: Table, before: datetime, what: str) -> int:
    """Forget snapshots from before `before`, but for the current one; how many files are removed.

    Removed are data files and manifests that no snapshot names, and what killed runs left, where
    they were written before `before`.

    Raises
    ------
    StoreUnavailableError
        Another process wrote to the table meanwhile; nothing is removed.
    """
    with alone(what):
        table.maintenance.expire_snapshots().older_than(before).commit()
    table.refresh()
    named = {filesystem_of(table.io, file)[1] for file in _named(table)}
    places = {data_place(table): ".parquet", f"{table.location()}/metadata": ".avro"}
    n_removed = 0
    for place, suffix in places.items():
        filesystem, folder = filesystem_of(table.io, place)
        selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
        for info in filesystem.get_file_info(selector):
            is_left = info.is_file and info.path.endswith(suffix) and info.path not in named
            if is_left and info.mtime < before:
                filesystem.delete_file(info.path)
                n_removed += 1
    return n_removed


def _named(table: Table) -> Iterator[str]:
    """Manifests and data files of every snapshot that is left."""
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path
