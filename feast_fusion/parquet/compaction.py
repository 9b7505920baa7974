"""Many small files of a sink made into few, with the rows in the order they had."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from feast_fusion.parquet.parquet_file import ParquetFile
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.parquet.parts import write_batches

TARGET_BYTES = 128 << 20  # of a file, uncompressed
_ROW_GROUP = 10_000  # narrow spans of time, so that a read of a window skips most


def plan_compaction(files: Sequence[ParquetFile]) -> list[tuple[ParquetFile, ...]]:
    """Which files become one file each, in their order; nothing where no two would.

    From the first small file on every file is in a group, since what is written anew comes behind
    what stays. Files of different columns stay apart: a column that a file lacks says that its
    rows are not finished.
    """
    groups: list[list[ParquetFile]] = []
    n_bytes = 0
    for file in files:
        if not groups or n_bytes >= TARGET_BYTES or file.schema != groups[-1][-1].schema:
            groups.append([])
            n_bytes = 0
        groups[-1].append(file)
        n_bytes += sum(group.metadata.total_byte_size for group in file.groups)
    large = next((i for i, group in enumerate(groups) if len(group) > 1), len(groups))
    return [tuple(group) for group in groups[large:]]


def write_together(source: ParquetSource, files: Sequence[ParquetFile], path: Path) -> None:
    """Write the rows of `files`, which are files of `source`, to the new file `path`."""
    part = replace(source, files=tuple(files), schema=files[0].schema)
    batches = part.gather(part.columns, np.arange(part.n_rows), _ROW_GROUP)
    write_batches(path, part.no_rows(part.columns).schema, batches)
