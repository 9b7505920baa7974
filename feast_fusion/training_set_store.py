"""A saved training set on an object store: whole or not at all, and fetched once."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock
from pyarrow import fs

from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error
from feast_fusion.files import replaced_folder
from feast_fusion.training_set_files import MANIFEST, verified_manifest

_VERSION = re.compile(r"[0-9a-f]{64}")


def is_remote(place: str | Path) -> bool:
    """Whether `place` is a URI, such as `s3://bucket/folder`, and no local path."""
    return "://" in str(place)


def copy_of(uri: str) -> Path:
    """Where the copy of the training set at `uri` lies on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "feast-fusion" / "training_sets" / hashlib.sha256(uri.encode()).hexdigest()


def upload(folder: Path, uri: str) -> None:
    """Put the saved training set in `folder` at `uri`, in the place of one that is there.

    Its files go to a folder named by their digest; the manifest, which names them, comes last and
    as one object. Who reads meanwhile has the old one or the new one. One process at a time
    uploads to a place.
    """
    with _told(uri):
        filesystem, root = fs.FileSystem.from_uri(uri)
        manifest = (folder / MANIFEST).read_bytes()
        version = _version(manifest)
        fs.copy_files(str(folder), f"{root}/{version}", destination_filesystem=filesystem)
        with filesystem.open_output_stream(f"{root}/{MANIFEST}") as stream:
            stream.write(manifest)
        for info in filesystem.get_file_info(fs.FileSelector(root)):
            # Only what an upload has made: other things may lie at the same place.
            if _VERSION.fullmatch(info.base_name) and info.base_name != version:
                filesystem.delete_dir(info.path)


def fetch(uri: str, folder: Path) -> dict[str, Any]:
    """Make `folder` a copy of the training set at `uri` unless it is; its verified manifest.

    Raises
    ------
    StoreUnavailableError
        There is no training set, or it cannot be reached.
    SchemaError
        A file there is damaged; `folder` is as it was.
    """
    with _told(uri):
        filesystem, root = fs.FileSystem.from_uri(uri)
        with filesystem.open_input_stream(f"{root}/{MANIFEST}") as stream:
            manifest: bytes = stream.read()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.fetch.lock")):
        here = folder / MANIFEST
        if here.is_file() and here.read_bytes() == manifest:
            try:
                return verified_manifest(folder)
            except SchemaError:  # the copy is damaged
                pass
        with replaced_folder(folder) as building:
            with _told(uri):
                source = f"{root}/{_version(manifest)}"
                fs.copy_files(source, str(building), source_filesystem=filesystem)
            try:
                return verified_manifest(building)
            except SchemaError as error:
                raise schema_error(
                    uri,
                    got=f"another file than was written ({error})",
                    expected="a training set as TrainingSet.save wrote it",
                    remedy="Write it again.",
                ) from error


def _version(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()


@contextmanager
def _told(uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreUnavailableError(
            f"{uri}: got {error}, expected the URI of a training set that can be reached. Write it "
            "with TrainingSet.save, or correct the URI and its credentials."
        ) from error
