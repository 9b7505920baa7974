"""Parquet files read whole, or filtered, with what they say of their own damage checked."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from feast_fusion.parquet.parquet_file import named_errors
from feast_fusion.parquet.seal import require_seal

VERIFIED = ds.ParquetFileFormat(
    default_fragment_scan_options=ds.ParquetFragmentScanOptions(page_checksum_verification=True)
)


def read_parquet(
    path: str | Path, columns: Sequence[str] | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """The rows of a file, or of the files of a folder in name order, for which `where` holds.

    Parameters
    ----------
    columns : those to read, in this order; None is every column

    Raises
    ------
    StoreUnavailableError
        There is no such file.
    SchemaError
        A file is damaged.
    """
    with named_errors(str(path)):
        return open_dataset(path).to_table(columns, where)


def open_dataset(path: str | Path) -> ds.Dataset:
    """The files at `path` for Arrow's own reader, which verifies each page; errors as above."""
    with named_errors(str(path)):
        found = ds.dataset(path, format=VERIFIED)
        for file in found.files:
            require_seal(file)
        return found


def read_schema(path: Path) -> pa.Schema:
    """The columns of a file, without metadata; errors as of `read_parquet`."""
    return _metadata(path).schema.to_arrow_schema().remove_metadata()


def count_rows(path: Path) -> int:
    """The rows of a file, as its footer says; errors as of `read_parquet`."""
    return int(_metadata(path).num_rows)


def _metadata(path: Path) -> pq.FileMetaData:
    with named_errors(str(path)):
        require_seal(path)
        return pq.read_metadata(path)
