"""Files at a URL: which there are, when they changed, and copies of them here."""

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError, schema_error

_BLOCK_BYTES = 8 << 20


def copy_here(url: str, folder: Path) -> list[tuple[Path, str]]:
    """Copies the files at a URL into `folder`; where each lies, and its name there.

    Raises
    ------
    SchemaError
        The URL is none that pyarrow or an installed fsspec knows.
    StoreUnavailableError
        The files cannot be reached.
    """
    filesystem, root = _open(url)
    copied = []
    for path in list_files(url):
        inner = PurePosixPath(path).relative_to(_base(root))
        target = folder / inner if str(inner) != "." else folder / PurePosixPath(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with filesystem.open_input_stream(path) as source, target.open("wb") as made:
                while block := source.read(_BLOCK_BYTES):
                    made.write(block)
        except (OSError, pa.ArrowException) as error:
            raise _unreachable(url, error) from error
        copied.append((target, f"{url.partition('://')[0]}://{path}"))
    return copied


def list_files(url: str) -> dict[str, str]:
    """The files at a URL in the order of their names, and what changes when they do.

    Raises
    ------
    SchemaError, StoreUnavailableError
        As `copy_here`.
    """
    filesystem, root = _open(url)
    try:
        info = filesystem.get_file_info(root)
        found = [info] if info.is_file else []
        if not found:
            base = _base(root)
            inside = fs.FileSelector(base, recursive=True, allow_not_found=True)
            found = [each for each in filesystem.get_file_info(inside) if each.is_file]
        if not info.is_file and base != root:
            found = [each for each in found if fnmatchcase(each.path, root)]
    except (OSError, pa.ArrowException) as error:
        raise _unreachable(url, error) from error
    found.sort(key=lambda each: str(each.path))
    return {each.path: f"{each.size} {each.mtime_ns}" for each in found}


def _open(url: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
        return filesystem, path
    except (ValueError, pa.ArrowException):
        return _open_by_fsspec(url)


def _open_by_fsspec(url: str) -> tuple[fs.FileSystem, str]:
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise schema_error(
            url,
            got=f"a URL that cannot be opened ({error})",
            expected="s3://, gs://, file:// or what an installed fsspec package knows",
            remedy="Install the package that it names, or copy the files here.",
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _base(root: str) -> str:
    """The folder that a path with wildcards begins with; another path itself."""
    parts = PurePosixPath(root).parts
    n_fixed = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return root if n_fixed == len(parts) else str(PurePosixPath(*parts[:n_fixed]))


def _unreachable(url: str, error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"{url}: got {error}, expected files that can be read. Check the address, and that the "
        "credentials of the environment allow it."
    )
