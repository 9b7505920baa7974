"""Tables written as Parquet: complete or not at all, later rows behind earlier ones."""

import re
import uuid
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from pyarrow import fs

from feast_fusion.errors import schema_error
from feast_fusion.files import replaced_file, sync_path
from feast_fusion.parquet.declared_source import local_path
from feast_fusion.parquet.location import SUFFIXES
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parquet_file import named_errors
from feast_fusion.parquet.seal import WRITTEN, parquet_writer, seal, write_parquet
from feast_fusion.parquet.whole import read_schema

_PART = re.compile(r"part-(\d{10})-\w+\.parquet")


def append_part(folder: Path, table: pa.Table, *, sync: bool = False) -> Path:
    """Add `table` to `folder` as one new file behind the numbered parts that are there.

    Readers take files in name order. `sync` : safe from a loss of power.
    """
    path = new_part(folder)
    write_file(path, table, sync=sync)
    return path


def adopt_parts(folder: Path, files: Iterable[Path]) -> None:
    """Move whole files of the same file system to `folder`, in this order behind its parts."""
    for number, file in enumerate(files, _next_number(folder)):
        file.rename(folder / _part_name(number))
    sync_path(folder)


def new_part(folder: Path) -> Path:
    """A name for a file behind the parts that are in `folder`."""
    return folder / _part_name(_next_number(folder))


def _next_number(folder: Path) -> int:
    names = (path.name for path in folder.iterdir())
    numbers = [int(found[1]) for found in map(_PART.fullmatch, names) if found]
    return max(numbers, default=-1) + 1


def _part_name(number: int) -> str:
    return f"part-{number:010d}-{uuid.uuid4().hex[:8]}.parquet"


def renamed_part(path: Path) -> Path:
    """Another name for the part `path`, at the same place in the order of parts."""
    found = _PART.fullmatch(path.name)
    return path if found is None else path.with_name(_part_name(int(found[1])))


def write_file(path: Path, table: pa.Table, *, sync: bool = False) -> None:
    """Write `table` as the file `path`, in the place of one that is there.

    `sync` : safe from a loss of power.
    """
    with replaced_file(path, sync=sync) as building:
        write_parquet(building, table, **_options(table.schema))


def write_remote(filesystem: fs.FileSystem, path: str, table: pa.Table) -> None:
    """Write `table` as the file `path`, whole or not at all."""
    upload(filesystem, path, partial(write_file, table=table))


def upload(filesystem: fs.FileSystem, path: str, write: Callable[[Path], None]) -> None:
    """Put the local file that `write` makes at `path`, whole or not at all."""
    if isinstance(filesystem, fs.LocalFileSystem):
        with replaced_file(Path(path), sync=True) as building:
            write(building)
        return
    with TemporaryDirectory() as folder:
        written = Path(folder) / "part.parquet"
        write(written)
        fs.copy_files(
            str(written),
            path,
            source_filesystem=fs.LocalFileSystem(),
            destination_filesystem=filesystem,
        )


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.Table]) -> None:
    """Write the new file `path`, a row group for each of `batches`; safe from a loss of power."""
    with parquet_writer(path, schema, **_options(schema)) as writer:
        for batch in batches:
            writer.write_table(batch)
    sync_path(path)


def _options(schema: pa.Schema) -> dict[str, Any]:
    """Numbers in vectors seldom repeat, so that a dictionary of them would only cost."""
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return {"use_dictionary": texts}


def save_table(
    table: pa.Table, target: DataSource, repo_path: Path | None, allow_overwrite: bool
) -> None:
    """Write `table` as the whole content of `target`: a `.parquet` file, or else a folder.

    Raises
    ------
    SavedDatasetLocationAlreadyExists
        Something is there and may not be overwritten.
    """
    path = local_path(target, repo_path, "place to write to")
    if path.exists() and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=target.path)
    if path.suffix in SUFFIXES and not path.is_dir():
        write_file(path, table)
        return
    path.mkdir(parents=True, exist_ok=True)
    earlier = [file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()]
    append_part(path, table)
    for file in earlier:
        file.unlink()


def save_logged(
    table: pa.Table, target: DataSource, repo_path: Path | None, partition_by: list[str] | None
) -> None:
    """Add `table` to the folder `target`, in sub-folders of the columns `partition_by`."""
    folder = local_path(target, repo_path, "place of logged features")
    folder.mkdir(parents=True, exist_ok=True)
    if not partition_by:
        append_part(folder, table)
        return
    name = f"part-{uuid.uuid4().hex}-{{i}}.parquet"
    pq.write_to_dataset(
        table,
        folder,
        partition_by,
        basename_template=name,
        file_visitor=lambda written: seal(Path(written.path)),
        **WRITTEN,
    )


def append_table(
    table: pa.Table, target: DataSource, repo_path: Path | None, declared: pa.Schema
) -> None:
    """Add `table` behind the rows of `target`: a new file in a folder, or the file rewritten.

    Where nothing lies at the path yet, a file is written if it ends as Parquet files do, else a
    folder with one file.

    Parameters
    ----------
    table : columns named as the source names them, or as its files do
    declared : types of columns in a source that holds nothing yet; others keep those of `table`

    Raises
    ------
    SchemaError
        `table` has not exactly the columns of `target`, or a type cannot be converted.
    """
    path = local_path(target, repo_path, "place to write to")
    mapping = dict(target.field_mapping or {})
    if holds_nothing(path):
        fields = [declared.field(f.name) if f.name in declared.names else f for f in table.schema]
        stored = {new: old for old, new in mapping.items()}
        schema = pa.schema([f.with_name(stored.get(f.name, f.name)) for f in fields])
        addition = table.rename_columns(schema.names).cast(schema)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in SUFFIXES:
            write_file(path, addition)
        else:
            path.mkdir(exist_ok=True)
            append_part(path, addition)
        return
    what = f"data source {target.name!r}"
    if path.is_dir():
        schema = open_source(target, repo_path, what).schema
        append_part(path, _conformed(table, schema, mapping, str(path)))
        return
    schema = read_schema(path)
    addition = _conformed(table, schema, mapping, str(path))
    with (
        replaced_file(path) as building,
        named_errors(str(path)),
        pq.ParquetFile(path, page_checksum_verification=True) as earlier,
        parquet_writer(building, schema, **_options(schema)) as writer,
    ):
        for batch in earlier.iter_batches():
            writer.write_batch(batch.cast(schema))
        writer.write_table(addition)


def holds_nothing(path: Path) -> bool:
    """Whether there is neither a file at `path` nor one in the folder there."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _stored_names(table: pa.Table, schema: pa.Schema, mapping: dict[str, str]) -> list[str]:
    """Names of the columns of `table` in the files, whichever of the two names it has."""
    if table.column_names == [mapping.get(name, name) for name in schema.names]:
        return list(schema.names)  # by place: a file may have a column of the mapped name too
    stored = {new: old for old, new in mapping.items()}
    return [stored.get(name, name) for name in table.column_names]


def _conformed(table: pa.Table, schema: pa.Schema, mapping: dict[str, str], where: str) -> pa.Table:
    table = table.rename_columns(_stored_names(table, schema, mapping))
    if set(table.column_names) != set(schema.names) or len(table.column_names) != len(schema):
        raise schema_error(
            f"rows for {where}",
            got=f"columns {table.column_names}",
            expected=f"exactly {schema.names}",
            remedy="Add or leave out columns.",
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"rows for {where}", got=table.schema, expected=schema, remedy=str(error)
        ) from error
