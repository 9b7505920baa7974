"""A prepared source as a file: its rows in order, in row groups of a bounded size."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from feast_fusion.parquet.seal import parquet_writer
from transformations.activity import ActivityTable

Progress = Callable[[str, int, int], None]

_ROW_GROUP_ROWS = 65_536
_ROW_GROUP_BYTES = 32 << 20


def whole_table(name: str, table: pa.Table, *order: str) -> ActivityTable:
    """An input table, sorted: by `order`, then its other times, ids and its place in the file."""
    keys = [*order, *(key for key in ("created", "event_id") if key in table.column_names)]
    row = pa.array(np.arange(len(table)))
    by = table.select(keys).append_column("row", row)
    ranks = by.sort_by([(key, "ascending") for key in by.column_names])["row"]
    table = table.take(ranks)
    chunks = (table.slice(at, _ROW_GROUP_ROWS) for at in range(0, len(table), _ROW_GROUP_ROWS))
    return ActivityTable(name, table.schema, len(table), chunks)


def write_table(path: Path, table: ActivityTable, progress: Progress) -> None:
    """Write a source in row groups of a bounded size."""
    progress(table.name, 0, table.n_rows)
    done = 0
    with parquet_writer(path, table.schema) as writer:
        for group in _row_groups(table.chunks):
            writer.write_table(group)
            done += len(group)
            progress(table.name, done, table.n_rows)


def _row_groups(chunks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small chunks together: a group per chunk would make files of many tiny groups."""
    held: list[pa.Table] = []
    for chunk in chunks:
        held.append(chunk)
        n_rows, n_bytes = sum(map(len, held)), sum(each.nbytes for each in held)
        if n_rows >= _ROW_GROUP_ROWS or n_bytes >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
