"""What kind of file lies there, by its first bytes; its suffix speaks where they do not."""

from typing import Literal

import pyarrow as pa

from feast_fusion.errors import SchemaError, schema_error
from intake.tables.data_files import DataFile

Kind = Literal["parquet", "feather", "json", "delimited"]

SAMPLE_BYTES = 1 << 20
_COLUMNAR: dict[str, Kind] = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".ipc": "feather",
}
_DELIMITED = (".csv", ".tsv", ".tab", ".txt", ".dat")
_MAGIC: dict[bytes, Kind] = {b"PAR1": "parquet", b"ARROW1": "feather"}
_REFUSED = {
    b"PK\x03\x04": ("a zip archive or an Excel sheet", "Unpack it, or save the sheet as CSV."),
    b"SQLite format 3": ("an SQLite database", "Name it as database, and a query, in its section."),
    b"\x1f\x8b": ("a gzip file without its suffix", "Give it a name that ends in .gz."),
    b"\x28\xb5\x2f\xfd": ("a zstd file without its suffix", "Give it a name that ends in .zst."),
    b"FEA1": ("a feather file of version 1", "Write it again, as Parquet."),
}


def read_start(file: DataFile) -> bytes:
    """The first bytes of a file as it is without compression.

    Raises
    ------
    SchemaError
        It cannot be read.
    """
    try:
        with pa.input_stream(str(file.path), compression="detect") as stream:
            start: bytes = stream.read(SAMPLE_BYTES)
            return start
    except (OSError, pa.ArrowException) as error:
        raise unreadable(file, error) from error


def kind_of(file: DataFile, start: bytes) -> Kind:
    """The kind of a file that begins with `start`.

    Raises
    ------
    SchemaError
        It is empty, or of a kind that is not read.
    """
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    for magic, (what, remedy) in _REFUSED.items():
        if start.startswith(magic):
            raise _refused(file, what, remedy)
    if file.suffix in _COLUMNAR:
        got = f"a file that cannot be read: it begins with {start[:40]!r}"
        raise _refused(file, got, "It may have been cut off while it was copied: make it again.")
    if not start.strip():
        raise _refused(file, "an empty file", "Make it again, or correct its path.")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if file.suffix not in _DELIMITED and text[:1] in (b"{", b"["):
        return "json"
    return "delimited"


def _refused(file: DataFile, got: str, remedy: str) -> SchemaError:
    return schema_error(
        file.name, got=got, expected="CSV, TSV, JSON, Parquet or feather", remedy=remedy
    )


def unreadable(file: DataFile, error: Exception) -> SchemaError:
    """The error that a file cannot be read."""
    return schema_error(
        file.name,
        got=f"a file that cannot be read ({error})",
        expected="a whole file",
        remedy="It may have been cut off while it was written or copied: make it again.",
    )
