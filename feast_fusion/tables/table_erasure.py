"""Rows taken out of Iceberg tables for good: no snapshot is left that has them."""

import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from feast_fusion.history.folder_erasure import IsErased
from feast_fusion.history.staging import write_staged
from feast_fusion.tables.expiry import expire_table
from feast_fusion.tables.iceberg_table import TableName, data_files, filesystem_of, table_columns
from feast_fusion.tables.replacement import alone, replace_files
from feast_fusion.tables.staged_files import staged_location

_SOON = timedelta(seconds=1)  # clocks of file systems are coarse


def tables_of(namespace_uri: str) -> list[str]:
    """The tables of `iceberg://CATALOG/NAMESPACE`, by their URIs."""
    name = TableName.of(f"{namespace_uri}.table")
    namespace = name.identifier.rpartition(".")[0]
    catalog = name.open_catalog()
    if not catalog.namespace_exists(namespace):
        return []
    return sorted(f"{namespace_uri}.{table[-1]}" for table in catalog.list_tables(namespace))


def erase_table_rows(uri: str, column: str, is_erased: IsErased) -> int:
    """Write files of a table anew without some rows; how many those were.

    Files before the first that has such rows stay as they are, and the order of rows stays. The
    other snapshots, and files that only they named, are gone.

    Raises
    ------
    StoreUnavailableError
        Another process wrote to the table meanwhile; nothing is changed.
    """
    table = TableName.of(uri).load(uri)
    if column not in table_columns(table).names:
        return 0
    files = data_files(table, uri)
    counts = [int(is_erased(read_file(table, file)[column]).sum()) for file in files]
    if any(counts):
        changed = files[int(np.flatnonzero(counts)[0]) :]
        place = f"{uri}/{uuid.uuid4().hex[:12]}-erasure"
        kept = [_without(read_file(table, file), column, is_erased) for file in changed]
        written = [write_staged(place, at, rows) for at, rows in enumerate(kept) if len(rows)]
        replace_files(table, changed, list(map(staged_location, written)), uri)
        table.refresh()
        _leave_out_deleted(table, uri)
    expire_table(table, datetime.now(UTC) + _SOON, uri)
    return sum(counts)


def _leave_out_deleted(table: Table, uri: str) -> None:
    """A snapshot of the same files: the one before says which files went, and what they held."""
    with alone(uri), table.transaction() as anew, anew.update_snapshot().fast_append():
        pass
    table.refresh()


def read_file(table: Table, file: DataFile) -> pa.Table:
    """The columns of one data file, as it has them."""
    filesystem, path = filesystem_of(table.io, file.file_path)
    with filesystem.open_input_file(path) as stream:
        return pq.ParquetFile(stream).read()


def _without(rows: pa.Table, column: str, is_erased: IsErased) -> pa.Table:
    return rows.filter(pa.array(~is_erased(rows[column])))
