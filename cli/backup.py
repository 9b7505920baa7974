"""`feast-fusion backup` and `restore`: one file of all that a data set cannot just make again."""

import hashlib
import io
import json
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

import click

from cli.terminal import result, say, then
from cli.workspace_options import with_workspace
from feast_fusion.errors import FeastFusionError, schema_error
from feast_fusion.files import private_folder, replaced_file, replaced_folder
from intake.workspace import Workspace

_MANIFEST = "MANIFEST.json"
# Made again by the commands that need them.
_LEFT_OUT = ("redis", "checkpoints", "encoder_checkpoints", "graphs")
_CHUNK = 1 << 20


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@with_workspace
def backup(workspace: Workspace, file: Path) -> None:
    """Write journals, sources, sinks, registry, models and reports of the data set to FILE (tar).

    A service may go on meanwhile: the journals are copied last, so FILE has every event and row
    that was acknowledged before the command began. Redis and vectors are not in it: both are made
    again.
    Sinks that are Iceberg tables (FUSION_TABLES) stay where they are.
    """
    if not workspace.root.is_dir():
        raise FeastFusionError(
            f"{workspace.root}: got no such folder, expected a data set that was run. "
            "Run feast-fusion run, or name another --dataset or --home."
        )
    if file.exists():
        raise schema_error(
            str(file), got="a file", expected="a new one", remedy="Choose another name."
        )
    digests: dict[str, str] = {}
    with replaced_file(file) as building:
        building.touch(0o600)
        with tarfile.open(building, "w") as archive:
            for path in _files(workspace):
                name = path.relative_to(workspace.root).as_posix()
                try:
                    digests[name] = _add(archive, name, path)
                except FileNotFoundError:
                    if path.parent not in _journals(workspace):
                        raise  # else it was archived meanwhile, and the archive comes after it
            manifest = {"name": workspace.dataset.name, "sha256": digests}
            _add_bytes(archive, _MANIFEST, json.dumps(manifest).encode())
    say(f"{len(digests)} files, {file.stat().st_size / 1e6:,.1f} MB: {file}")
    result(files=len(digests), bytes=file.stat().st_size, file=file)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@with_workspace
def restore(workspace: Workspace, file: Path) -> None:
    """Put what `backup` wrote to FILE in the place of a data set that is not there.

    Every file is compared with its digest before anything is put in place.
    """
    if workspace.root.exists():
        raise schema_error(
            str(workspace.root),
            got="a data set",
            expected="none, since nothing is overwritten",
            remedy="Move it away, or restore into another --home.",
        )
    private_folder(workspace.home)
    try:
        with tarfile.open(file) as archive, replaced_folder(workspace.root) as building:
            archive.extractall(building, filter="data")
            n_files = _require_whole(building, workspace.dataset.name, file)
    except tarfile.TarError as error:
        raise _damaged(file, str(error)) from None
    say(f"{n_files} files of {file} are in {workspace.root}.")
    result(files=n_files, folder=workspace.root)
    then("Next: feast-fusion run, which applies them here and fills Redis.")


def _files(workspace: Workspace) -> Iterator[Path]:
    """What is kept, the journals last: the others may then know less than it, never more.

    Each part is listed when it is its turn.
    """
    for folder in sorted(workspace.root.iterdir()):
        if folder.name not in _LEFT_OUT and folder not in _journals(workspace):
            yield from _kept([folder] if folder.is_file() else folder.rglob("*"), workspace.root)
    for journal in _journals(workspace):
        yield from _kept(journal.glob("*"), workspace.root)
        yield from _kept(journal.glob("*/**/*"), workspace.root)


def _journals(workspace: Workspace) -> tuple[Path, Path]:
    return workspace.events, workspace.posted


def _kept(paths: Iterable[Path], root: Path) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.is_file()
        and path.suffix != ".lock"
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _add(archive: tarfile.TarFile, name: str, path: Path) -> str:
    """Copy a file into the archive as it is at one instant; its SHA-256."""
    with tempfile.TemporaryFile() as copy:
        if path.suffix == ".db":  # another process may write to it
            with tempfile.TemporaryDirectory() as folder:
                whole = Path(folder) / "copy.db"
                with (
                    closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source,
                    closing(sqlite3.connect(whole)) as target,
                ):
                    source.backup(target)
                copy.write(whole.read_bytes())
        else:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    copy.write(chunk)
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = copy.tell(), 0o600, int(path.stat().st_mtime)
        copy.seek(0)
        archive.addfile(info, copy)
        copy.seek(0)
        return _digest(copy)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    archive.addfile(info, io.BytesIO(content))


def _digest(stream: IO[bytes]) -> str:
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]


def _require_whole(folder: Path, name: str, file: Path) -> int:
    """Compare what was unpacked with its manifest, which is removed; how many files there are."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        expected: dict[str, str] = manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(file, f"no readable {_MANIFEST}") from None
    if manifest["name"] != name:
        raise schema_error(
            str(file),
            got=f"a backup of {manifest['name']!r}",
            expected=f"one of {name!r}",
            remedy="Name the data set it was made of by --dataset.",
        )
    (folder / _MANIFEST).unlink()
    for relative, digest in expected.items():
        path = folder / PurePosixPath(relative)
        if not path.is_file():
            raise _damaged(file, f"no {relative}")
        with path.open("rb") as stream:
            if _digest(stream) != digest:
                raise _damaged(file, f"{relative} with another content than was written")
    return len(expected)


def _damaged(file: Path, got: str) -> FeastFusionError:
    return schema_error(
        str(file),
        got=got,
        expected="a file that feast-fusion backup wrote, whole",
        remedy="It is damaged or no backup: take another.",
    )
