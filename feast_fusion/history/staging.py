"""Rows that any process writes beside a sink, for whoever holds the sink to commit."""

from pathlib import Path

import pyarrow as pa

from feast_fusion.parquet.location import ICEBERG
from feast_fusion.parquet.opening import local_files, open_files
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.parquet.parts import write_file, write_remote


def write_staged(place: str, number: int, table: pa.Table) -> str:
    """Write `table` as shard `number` at `place`, safe from a loss of power; the file.

    Done again, by whomever, it replaces the file all or nothing.

    Parameters
    ----------
    place : what `HistorySink.staging` gives
    """
    file = f"{place}/shard-{number:010d}.parquet"
    if file.startswith(ICEBERG):
        from feast_fusion.tables.staged_files import staged_at  # an extra

        write_remote(*staged_at(file), table)
    else:
        write_file(Path(file), table, sync=True)
    return file


def open_staged(file: str, what: str) -> ParquetSource:
    """A file that `write_staged` wrote; errors as of `open_source`, about `what`."""
    if file.startswith(ICEBERG):
        from feast_fusion.tables.staged_files import staged_at  # an extra

        return open_files(*staged_at(file), what)
    return local_files(file, what)
