"""The files behind a path: itself, those of a folder, those of a pattern, those of a URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote

from feast_fusion.errors import schema_error
from intake.near_name import did_you_mean
from intake.tables.remote_files import copy_here

SUFFIXES = (
    *(".csv", ".tsv", ".tab", ".txt", ".dat", ".json", ".jsonl", ".ndjson"),
    *(".parquet", ".parq", ".pq"),
    *(".feather", ".arrow", ".ipc"),
)
COMPRESSED = (".gz", ".zst")
WILDCARDS = "*?["
_DELTA_LOG = "_delta_log"
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class DataFile:
    """One file of a table.

    Attributes
    ----------
    path : where it can be read here
    name : what messages call it
    partition : columns that its folders give, as in `country=cn/part-0.parquet`
    """

    path: Path
    name: str
    partition: dict[str, str | None]

    @property
    def suffix(self) -> str:
        """Its suffix without compression, in small letters."""
        found = [each.lower() for each in self.path.suffixes]
        if found and found[-1] in COMPRESSED:
            found.pop()
        return found[-1] if found else ""

    @property
    def is_compressed(self) -> bool:
        """Whether the file is compressed as a whole."""
        return self.path.suffix.lower() in COMPRESSED


@contextmanager
def open_files(location: Path | str) -> Iterator[list[DataFile]]:
    """The files at `location`, in the order of their names; those of a URL are copied meanwhile.

    Raises
    ------
    SchemaError
        There are none.
    """
    if isinstance(location, Path):
        yield local_files(location)
        return
    with TemporaryDirectory() as folder:
        copied = copy_here(location, Path(folder))
        found = [_data_file(path, Path(folder), name) for path, name in copied]
        found = found if len(found) == 1 else _data_of(found, Path(folder))
        if not found:
            raise _nothing_at(location, "no file of data")
        yield found


def local_files(path: Path) -> list[DataFile]:
    """The files at a local path, in the order of their names; of a folder, see `files_in`.

    Raises
    ------
    SchemaError
        There are none.
    """
    if path.is_file():
        return [DataFile(path, str(path), {})]
    if path.is_dir():
        return files_in(path) or _none(path, "a folder without a file of data")
    if not set(str(path)) & set(WILDCARDS):
        beside = sorted(each.name for each in path.parent.glob("*"))
        return _none(path, "no such file", did_you_mean(path.name, beside))
    found = []
    for each in sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))):
        found += local_files(each) if each.is_dir() else [_data_file(each, Path(each.anchor))]
    return found or _none(path, "no file that the pattern matches")


def files_in(folder: Path) -> list[DataFile]:
    """The files of data in a folder and below it, in the order of their names.

    Their suffix is one of `SUFFIXES`, with or without compression, or they have none; no name of
    theirs, or of a folder, begins with a dot or an underscore.

    Raises
    ------
    SchemaError
        It is a Delta table.
    """
    inside = [_data_file(each, folder) for each in sorted(folder.rglob("*")) if each.is_file()]
    return _data_of(inside, folder)


def _none(path: Path, got: str, meant: str = "") -> list[DataFile]:
    raise _nothing_at(path, got, meant)


def _nothing_at(location: Path | str, got: str, meant: str = "") -> Exception:
    return schema_error(
        f"{location}",
        got=got,
        expected="a file, a folder or a pattern of CSV, TSV, JSON, Parquet or feather files",
        remedy=f"Correct its path in dataset.toml, or make the file.{meant}",
    )


def _data_file(path: Path, base: Path, name: str | None = None) -> DataFile:
    folders = path.relative_to(base).parts[:-1]
    pairs = (folder.split("=", 1) for folder in folders if "=" in folder)
    partition = {key: None if value == _NULL_PARTITION else unquote(value) for key, value in pairs}
    return DataFile(path, name or str(path), partition)


def _data_of(files: list[DataFile], folder: Path) -> list[DataFile]:
    """Those of the files in `folder` that are its data."""
    kept = []
    for file in files:
        parts = file.path.relative_to(folder).parts
        if _DELTA_LOG in parts:
            raise schema_error(
                f"{folder}",
                got=f"a Delta table (it has a folder {_DELTA_LOG})",
                expected="a folder of files, all of whose rows count",
                remedy="Export the table to Parquet.",
            )
        is_hidden = any(part.startswith((".", "_")) for part in parts)
        if not is_hidden and file.suffix in (*SUFFIXES, ""):
            kept.append(file)
    return kept
