"""Versions of a data set's model, and which of them answer, at a place that several hosts reach.

    <place>/<data set>/<version>/   the files of a version; manifest.json has their digests
                       promoted.json   the file of `Promotions`, replaced as one object

A version is there once its manifest is, which comes last, and never changes. So nobody locks: of
two hosts that promote at once the later one holds, and both follow it.
"""

import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pyarrow import fs

from feast_fusion.errors import schema_error
from feast_fusion.files import digest_file
from feast_fusion.parquet.parts import upload
from feast_fusion.sealed_json import parse_json, write_json
from feast_fusion.shared_place import open_place, reached
from intake.workspace import Workspace
from training.model_versions import ModelVersion, ModelVersions

_MANIFEST, _PROMOTED = "manifest.json", "promoted.json"
_NAME = re.compile(r"[0-9a-f]{12}")


class SharedModels:
    """The shared versions of one workspace's data set. Nothing is reached before it is needed.

    Parameters
    ----------
    place : a folder that the hosts mount, or `s3://bucket/folder` and what else pyarrow knows

    Raises
    ------
    StoreUnavailableError
        By every use: the place cannot be reached.
    """

    def __init__(self, place: str, workspace: Workspace) -> None:
        self._place = place
        self._data_set = workspace.dataset.name
        self._versions = ModelVersions(workspace)

    @classmethod
    def of(cls, workspace: Workspace) -> "SharedModels | None":
        """Those of a workspace, None where it shares none."""
        return None if workspace.shared_models is None else cls(workspace.shared_models, workspace)

    def all(self) -> list[ModelVersion]:
        """The versions that are there, in the order of their names."""
        with self._reached():
            return [self._manifest(name)[0] for name in self._names()]

    def push(self, name: str) -> None:
        """Put a version of this host there, unless it is."""
        with self._reached():
            if self._has(name):
                return
            filesystem, root = self._located
            folder = self._versions.folder(name)
            paths = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
            files = {path.relative_to(folder).as_posix(): path for path in paths}
            for relative, path in files.items():
                upload(filesystem, f"{root}/{name}/{relative}", partial(shutil.copyfile, path))
            manifest = {
                "version": asdict(self._versions.find(name)),
                "sha256": {relative: digest_file(path) for relative, path in files.items()},
            }
            write = partial(write_json, content=manifest)
            upload(filesystem, f"{root}/{name}/{_MANIFEST}", write)

    def find(self, beginning: str) -> ModelVersion:
        """As `ModelVersions.find`, once this host has what is there under such a name.

        Raises
        ------
        SchemaError
            A file there is damaged; the host is as it was.
        """
        with self._reached():
            for name in self._names():
                if name.startswith(beginning):
                    self._versions.receive(name, partial(self._download, name))
        return self._versions.find(beginning)

    def remove(self, name: str) -> None:
        """Remove a version from there; one that is gone is no error."""
        with self._reached():
            filesystem, root = self._located
            if self._has(name):
                filesystem.delete_file(f"{root}/{name}/{_MANIFEST}")
                filesystem.delete_dir(f"{root}/{name}")

    def read_promoted(self) -> bytes | None:
        """The file of `Promotions` that is there, None where no host has promoted anything.

        Raises
        ------
        SchemaError
            It is damaged.
        """
        with self._reached():
            try:
                content, place = self._read(_PROMOTED)
            except FileNotFoundError:
                open_place(self._place)  # one that is away is not empty
                return None
        parse_json(content, place)
        return content

    def write_promoted(self, path: Path) -> None:
        """Put the file at `path` there, in the place of the one before."""
        with self._reached():
            filesystem, root = self._located
            upload(filesystem, f"{root}/{_PROMOTED}", partial(shutil.copyfile, path))

    @cached_property
    def _located(self) -> tuple[fs.FileSystem, str]:
        filesystem, root = open_place(self._place)
        return filesystem, f"{root}/{self._data_set}"

    def _names(self) -> list[str]:
        filesystem, root = self._located
        there = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
        names = sorted(info.base_name for info in there if _NAME.fullmatch(info.base_name))
        return [name for name in names if self._has(name)]

    def _has(self, name: str) -> bool:
        filesystem, root = self._located
        found: bool = filesystem.get_file_info(f"{root}/{name}/{_MANIFEST}").is_file
        return found

    def _read(self, path: str) -> tuple[bytes, str]:
        """The content of a file, and what errors call it."""
        filesystem, root = self._located
        with filesystem.open_input_stream(f"{root}/{path}") as stream:
            return stream.read(), self._path(path)

    def _path(self, path: str) -> str:
        return f"{self._place.rstrip('/')}/{self._data_set}/{path}"

    def _manifest(self, name: str) -> tuple[ModelVersion, dict[str, str]]:
        """The version, and the digests of its files."""
        manifest = parse_json(*self._read(f"{name}/{_MANIFEST}"))
        about: dict[str, Any] = manifest["version"]
        trained = datetime.fromisoformat(about["trained"])
        return ModelVersion(**{**about, "trained": trained}), manifest["sha256"]

    def _download(self, name: str, folder: Path) -> None:
        filesystem, root = self._located
        _, digests = self._manifest(name)
        fs.copy_files(f"{root}/{name}", str(folder), source_filesystem=filesystem)
        (folder / _MANIFEST).unlink()
        for relative, digest in digests.items():
            path = folder / relative
            if not path.is_file() or digest_file(path) != digest:
                raise schema_error(
                    self._path(f"{name}/{relative}"),
                    got="a damaged file" if path.is_file() else "no such file",
                    expected=f"the bytes whose digest {_MANIFEST} names",
                    remedy="Run feast-fusion models delete, and train again.",
                )

    def _reached(self) -> AbstractContextManager[None]:
        return reached(self._place, "models", "FUSION_MODELS")
