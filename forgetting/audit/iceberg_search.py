"""Searching every file of Iceberg tables: data, manifests and metadata, of any snapshot."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pyarrow import fs

from feast_fusion.tables.iceberg_table import TableName, filesystem_of
from feast_fusion.tables.staged_files import data_place
from feast_fusion.tables.table_erasure import tables_of
from forgetting.audit.file_search import FileSearch


def search_tables(namespace_uri: str, search: FileSearch) -> Iterator[tuple[str, str]]:
    """The files of the tables in a namespace that have something, and where in them."""
    with TemporaryDirectory() as folder:
        for uri in tables_of(namespace_uri):
            table = TableName.of(uri).load(uri)
            for place in {table.location(), data_place(table)}:
                filesystem, root = filesystem_of(table.io, place)
                selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
                for info in filesystem.get_file_info(selector):
                    if info.is_file and (where := _search(filesystem, info.path, folder, search)):
                        yield f"{uri}, {info.path}", where


def _search(filesystem: fs.FileSystem, path: str, folder: str, search: FileSearch) -> str | None:
    local = Path(folder) / PurePosixPath(path).name
    fs.copy_files(path, str(local), filesystem, fs.LocalFileSystem())
    try:
        return search.search(local)
    finally:
        local.unlink()
