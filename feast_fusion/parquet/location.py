"""Where Parquet files lie: one rule for paths, folders and names.

- `file://`, `s3://` and what else pyarrow knows are taken as they are.
- Of a folder, files named `*.parquet`, `*.parq` and `*.pq` are read, in the order of their names,
  sub-folders included. A name that begins with a dot or an underscore is hidden.
- `iceberg://CATALOG/NAMESPACE.TABLE` is an Iceberg table, whose files `feast_fusion.tables` finds.
- A sub-folder named `key=value` gives its files the column `key` (hive partitions).
- In a path that names nothing itself `*`, `?` and `[...]` stand for parts of a name, and `**` for
  folders; what they match is read as the files of a folder are.
"""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError, schema_error

ICEBERG = "iceberg://"
SUFFIXES = (".parquet", ".parq", ".pq")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_DELTA_LOG = "_delta_log"
_WILDCARDS = "*?["
_RETIRED = ".retired"


def file_system_of(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of a local path or a URI, and the path there."""
    if "://" in place:
        filesystem, path = fs.FileSystem.from_uri(place)
        return filesystem, path
    return fs.LocalFileSystem(), place


def list_files(filesystem: fs.FileSystem, root: str, what: str) -> list[fs.FileInfo]:
    """The file at `root`, or the visible Parquet files of the folder there, in name order.

    Raises
    ------
    StoreUnavailableError
        There is no such file, or the folder holds no Parquet file.
    SchemaError
        The folder is a Delta table, whose files also hold deleted rows.
    """
    info = filesystem.get_file_info(root)
    base = base_of(root) if info.type == fs.FileType.NotFound else root
    found = [info] if info.is_file else []
    if info.type == fs.FileType.Directory or base != root:
        inside = filesystem.get_file_info(
            fs.FileSelector(base, recursive=True, allow_not_found=True)
        )
        if any(i.base_name == _DELTA_LOG for i in inside):
            raise schema_error(
                f"{what}, {root}",
                got=f"a Delta table (it has a folder {_DELTA_LOG})",
                expected="a folder of Parquet files, all of whose rows count",
                remedy="Export the table to Parquet.",
            )
        found = [i for i in inside if i.is_file and _is_visible(_relative(i.path, base))]
        if base != root:
            pattern = _pattern(_relative(root, base))
            found = [i for i in found if pattern.fullmatch(str(_relative(i.path, base)))]
        found.sort(key=lambda i: PurePosixPath(i.path).parts)
    if not found:
        raise StoreUnavailableError(
            f"{what}: got no Parquet file at {root}, expected a file, or a folder with files "
            f"named {', '.join(f'*{suffix}' for suffix in SUFFIXES)}. Write it first (it may hold "
            "no rows), or correct the path of the source."
        )
    return found


def retired_path(path: str) -> str:
    """Where a file that others took the place of is kept for those who still read it."""
    return str(PurePosixPath(path).parent / _RETIRED / PurePosixPath(path).name)


def base_of(root: str) -> str:
    """The folder that a path with wildcards begins with; another path itself.

    >>> base_of("/data/year=*/part-?.parquet"), base_of("/data/year=2024")
    ('/data', '/data/year=2024')
    """
    parts = PurePosixPath(Path(root).as_posix()).parts
    wild = (i for i, part in enumerate(parts) if set(part) & set(_WILDCARDS))
    n_fixed = next(wild, len(parts))
    return root if n_fixed == len(parts) else str(PurePosixPath(*parts[:n_fixed]))


def _pattern(wanted: PurePosixPath) -> re.Pattern[str]:
    parts = []
    for part in wanted.parts:
        text = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        text = text.replace(r"\[", "[").replace(r"\]", "]").replace(r"\-", "-").replace("[!", "[^")
        parts.append("(?:[^/]+/)*" if part == "**" else f"{text}/")
    return re.compile("".join(parts).removesuffix("/"))


def partition_of(path: str, root: str) -> dict[str, str | None]:
    """Columns that the folders between `root` and the file give.

    >>> partition_of("/data/year=2024/country=new%20zealand/a.parquet", "/data")
    {'year': '2024', 'country': 'new zealand'}
    """
    folders = _relative(path, root).parts[:-1] if path != root else ()
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    return {key: None if value == _NULL_PARTITION else unquote(value) for key, value in pairs}


def _relative(path: str, root: str) -> PurePosixPath:
    return PurePosixPath(Path(path).as_posix()).relative_to(Path(root).as_posix())


def _is_visible(relative: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "_")) for part in relative.parts)
    return relative.suffix in SUFFIXES and not hidden
