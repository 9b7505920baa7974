"""A file of a data set as it lies there: read whole, or refused with its name."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.errors import SchemaError, schema_error
from intake.text_template import formatted_columns

# Ids as text: numbers would lose the zeros that they begin with.
_IDS = "dtype={{'user_id': str, 'item_id': str}}"
_READERS = {
    ".csv": f"read_csv({{}}, {_IDS})",
    ".tsv": f"read_csv({{}}, sep='\\t', {_IDS})",
    ".jsonl": f"read_json({{}}, lines=True, {_IDS})",
    ".json": f"read_json({{}}, lines=True, {_IDS})",
    ".feather": "read_feather({})",
    ".arrow": "read_feather({})",
}


def read_parquet(path: Path) -> pa.Table:
    """All rows of the Parquet file at `path`.

    Raises
    ------
    SchemaError
        It is missing or unreadable, or has two columns of one name.
    """
    if not path.is_file():
        is_folder = path.is_dir()
        raise schema_error(
            f"{path}",
            got="a folder" if is_folder else "no such file",
            expected="a Parquet file",
            remedy=f"Make one file of it: {_conversion(path, 'read_parquet({})')}."
            if is_folder
            else "Correct its path in dataset.toml, or make the file.",
        )
    _refuse_other_kind(path)
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


def _refuse_other_kind(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(40)
    if start.startswith(b"PAR1"):
        return
    kind = next((each for each in path.suffixes if each in _READERS), None)
    raise schema_error(
        f"{path}",
        got=f"a file that cannot be read as Parquet: it begins with {start!r}",
        expected="a Parquet file, which begins with b'PAR1'",
        remedy="Make it again, or convert what it is."
        if kind is None
        else f"Convert it: {_conversion(path, _READERS[kind])}.",
    )


def _conversion(path: Path, reader: str) -> str:
    made = path.with_name(path.name.partition(".")[0] + ".parquet")
    call = reader.format(repr(str(path)))
    return (
        f"`pandas.{call}.to_parquet({str(made)!r}, index=False)`, and name {made.name} in "
        "dataset.toml"
    )


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
