"""The files of a saved training set: Arrow tables, and a manifest with the digest of every file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.files import digest_file
from feast_fusion.sealed_json import read_json, write_json

FORMAT = 2
MANIFEST = "manifest.json"
_REMEDY = "Write it with feast-fusion training-set, or TrainingSet.save."


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as an Arrow file."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def map_table(path: Path) -> pa.Table:
    """The table of an Arrow file, in the memory of the file."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def map_list(path: Path) -> pa.ListArray:
    """The column `values` of an Arrow file as one array."""
    column = map_table(path).column("values")
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write `content` and the digests of all files in `folder` to its manifest."""
    digests = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / MANIFEST, {"format": FORMAT, **content, "sha256": digests})


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of `folder`, whose files are as they were written.

    Raises
    ------
    SchemaError
        The manifest or a file is missing, damaged or of another format.
    """
    try:
        manifest = read_json(folder / MANIFEST)
    except SchemaError as error:
        raise schema_error(
            f"{folder}",
            got=f"no readable {MANIFEST} ({error.__cause__})",
            expected="a folder written by TrainingSet.save",
            remedy=_REMEDY,
        ) from error
    if manifest["format"] != FORMAT:
        raise schema_error(
            f"{folder}",
            got=f"format {manifest['format']}",
            expected=f"format {FORMAT}",
            remedy=_REMEDY,
        )
    for name, digest in manifest["sha256"].items():
        path = folder / name
        if not path.is_file() or digest_file(path) != digest:
            raise schema_error(
                f"{path}",
                got="a damaged file" if path.is_file() else "no such file",
                expected=f"the bytes whose digest {MANIFEST} names",
                remedy=_REMEDY,
            )
    return manifest
