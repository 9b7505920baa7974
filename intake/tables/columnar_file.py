"""Parquet and feather files, read whole and checked."""

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from intake.tables.data_files import DataFile
from intake.tables.file_kind import unreadable


def read_columnar(file: DataFile, kind: str) -> pa.Table:
    """All rows of a Parquet or feather file.

    Raises
    ------
    SchemaError
        It is cut off or damaged.
    """
    try:
        source: object = str(file.path)
        if file.is_compressed:
            with pa.input_stream(str(file.path), compression="detect") as stream:
                source = pa.BufferReader(stream.read())
        is_parquet = kind == "parquet"
        table = (
            pq.ParquetFile(source, page_checksum_verification=True).read()
            if is_parquet
            else feather.read_table(source)
        )
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(file, error) from error
    return table
