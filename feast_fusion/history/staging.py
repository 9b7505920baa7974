"""Rows that any process writes beside a sink, for whoever holds the sink to commit."""

from pathlib import Path

import pyarrow as pa

from feast_fusion.parquet.parts import write_file


def write_staged(place: str, number: int, table: pa.Table) -> str:
    """Write `table` as shard `number` at `place`, safe from a loss of power; the file.

    Done again, by whomever, it replaces the file all or nothing.

    Parameters
    ----------
    place : what `HistorySink.staging` gives
    """
    path = Path(place) / f"shard-{number:010d}.parquet"
    write_file(path, table, sync=True)
    return str(path)
