"""The newest rows of the log of served features."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_fusion.errors import SchemaError
from feast_fusion.parquet.seal import require_seal
from feast_fusion.times import TIMESTAMP
from transformations.served_files import MODEL, served_files


@dataclass(frozen=True)
class ServedRows:
    """What the log has.

    Attributes
    ----------
    table : the newest rows, with the columns asked for
    n_other : newer rows that were left out, or lack such a column: another version served them
    """

    table: pa.Table
    n_other: int


def read_served(
    folder: Path,
    columns: Collection[str],
    limit: int = 0,
    before: datetime | None = None,
    without: Sequence[str] = (),
) -> ServedRows:
    """The newest `limit` rows of requests `before` an instant, by time; 0 and None for all.

    without : versions of the model whose rows are left out

    Raises
    ------
    SchemaError
        A file of the log is damaged.
    """
    found: list[pa.Table] = []
    n_rows = n_other = 0
    for path in served_files(folder):
        table = _read(path, columns)
        if isinstance(table, int):
            n_other += table
            continue
        if without and MODEL in table.column_names:
            kept = table.filter(pc.invert(pc.is_in(table[MODEL], pa.array(without, pa.string()))))
            n_other += len(table) - len(kept)
            table = kept
        table = table.select(list(columns))
        if before is not None:
            until = pa.scalar(before, TIMESTAMP)
            table = table.filter(pc.less(table["event_timestamp"], until))
        found.append(table)
        n_rows += len(table)
        if limit and n_rows >= limit:
            break
    if not found:
        return ServedRows(pa.table({name: [] for name in columns}), n_other)
    whole = pa.concat_tables(found, promote_options="permissive").sort_by("event_timestamp")
    return ServedRows(whole.slice(max(0, len(whole) - limit) if limit else 0), n_other)


def _read(path: Path, columns: Collection[str]) -> pa.Table | int:
    """The rows of a file, or how many there are where it lacks one of the columns."""
    try:
        require_seal(path)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = set(file.schema_arrow.names)
            if not set(columns) <= names:
                return int(file.metadata.num_rows)
            return file.read([*columns, *({MODEL} & names)])
    except FileNotFoundError:  # removed since the folder was listed, being the oldest
        return 0
    except (pa.ArrowException, OSError) as error:
        raise SchemaError(
            f"served log {path}: got a file that cannot be read ({error}), expected Parquet. "
            "Remove it."
        ) from error
