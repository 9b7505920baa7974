"""Tables written to a Feast file source: complete or not at all, later rows behind earlier ones."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource

from feast_fusion.errors import schema_error
from feast_fusion.retrieval.parquet_source import open_source

_PART = re.compile(r"part-(\d{10})-")  # as HistoryEngine numbers the files of its sinks


def save_table(
    table: pa.Table, target: DataSource, repo_path: Path | None, allow_overwrite: bool
) -> None:
    """Write `table` as the whole content of `target`: a `.parquet` file, or else a folder.

    Raises
    ------
    SavedDatasetLocationAlreadyExists
        Something is there and may not be overwritten.
    """
    path = _local_path(target, repo_path)
    if path.exists() and not allow_overwrite:
        raise SavedDatasetLocationAlreadyExists(location=target.path)
    if path.suffix == ".parquet" and not path.is_dir():
        with _replaced_file(path) as building:
            pq.write_table(table, building)
        return
    path.mkdir(parents=True, exist_ok=True)
    earlier = [file for file in path.rglob("*.parquet") if file.is_file()]
    with _replaced_file(_part_path(path)) as building:
        pq.write_table(table, building)
    for file in earlier:
        file.unlink()


def append_table(table: pa.Table, target: DataSource, repo_path: Path | None) -> None:
    """Add `table` behind the rows of `target`: a new file in a folder, or the file rewritten.

    Raises
    ------
    SchemaError
        `table` has not exactly the columns of `target`, or a type cannot be converted.
    """
    source = open_source(target, repo_path)
    schema = pq.read_schema(source.files[0].path, filesystem=source.files[0].filesystem)
    addition = _conformed(table, schema.remove_metadata(), source.path)
    path = _local_path(target, repo_path)
    if path.is_dir():
        with _replaced_file(_part_path(path)) as building:
            pq.write_table(addition, building)
        return
    with _replaced_file(path) as building, pq.ParquetWriter(building, addition.schema) as writer:
        for batch in pq.ParquetFile(path).iter_batches():
            writer.write_batch(batch.cast(addition.schema))
        writer.write_table(addition)


def _conformed(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
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


def _local_path(target: DataSource, repo_path: Path | None) -> Path:
    uri = target.path if isinstance(target, FileSource) else repr(target)
    if not isinstance(target, FileSource) or ("://" in uri and not uri.startswith("file://")):
        raise schema_error(
            "place to write to",
            got=uri,
            expected="a local path",
            remedy="Write there by other means.",
        )
    return Path(FileSource.get_uri_for_file_path(repo_path, uri.removeprefix("file://")))


def _part_path(folder: Path) -> Path:
    """A name behind the numbered parts in `folder`, since files are read in name order."""
    numbers = [int(found[1]) for file in folder.iterdir() if (found := _PART.match(file.name))]
    number = max(numbers, default=-1) + 1
    return folder / f"part-{number:010d}-{uuid.uuid4().hex[:8]}.parquet"


@contextmanager
def _replaced_file(path: Path) -> Iterator[Path]:
    """A hidden path to write to, which takes the place of `path` when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield building
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)
