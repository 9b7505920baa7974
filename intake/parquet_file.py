"""A file of a data set as it lies there: read whole, or refused with its name."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.errors import SchemaError, schema_error
from intake.text_template import formatted_columns


def read_parquet(path: Path) -> pa.Table:
    """All rows of the Parquet file at `path`.

    Raises
    ------
    SchemaError
        It is missing or unreadable, or has two columns of one name.
    """
    if not path.is_file():
        raise schema_error(
            f"{path}",
            got="no such file",
            expected="a Parquet file",
            remedy="Correct its path in dataset.toml, or make the file.",
        )
    try:
        table = pq.ParquetFile(path).read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise schema_error(
            f"{path}",
            got=f"a file that cannot be read ({error})",
            expected="a whole Parquet file",
            remedy="It may have been cut off while it was written or copied: make it again.",
        ) from error
    repeated = sorted({c for c in table.column_names if table.column_names.count(c) > 1})
    if repeated:
        raise schema_error(
            f"{path}",
            got=f"more than one column named {repeated}",
            expected="distinct names",
            remedy="Rename or drop the others.",
        )
    return table


def missing_columns(path: Path, missing: Sequence[str], present: Sequence[str]) -> SchemaError:
    """The error that a file lacks columns which it must have or which dataset.toml names."""
    remedy = "Add or rename them, or correct what dataset.toml names."
    for written, column in formatted_columns(missing, present).items():
        remedy = (
            f"A placeholder is the name of a column alone: write {{{column}}} for {{{written}}} in "
            "[items] text; format or round the column in the file."
        )
    return schema_error(
        f"{path}: missing columns {missing}",
        got=f"columns {present}",
        expected=f"also {missing}",
        remedy=remedy,
    )
