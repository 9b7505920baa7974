"""An Iceberg table for Arrow's own reader, which shares nothing with the offline store's."""

import pyarrow.dataset as ds

from feast_fusion.parquet.whole import VERIFIED
from feast_fusion.tables.iceberg_table import TableName, data_files, filesystem_of, table_columns


def table_dataset(uri: str) -> ds.Dataset:
    """The files of the current snapshot, an earlier commit's first; errors as `data_files`."""
    table = TableName.of(uri).load("table")
    columns = table_columns(table)
    located = [filesystem_of(table.io, file.file_path) for file in data_files(table, "table")]
    if not located:
        return ds.dataset(columns.empty_table())
    paths = [path for _, path in located]
    return ds.dataset(paths, filesystem=located[0][0], schema=columns, format=VERIFIED)
