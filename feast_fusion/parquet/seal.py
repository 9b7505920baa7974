"""How we write Parquet: so that a file notices its own damage.

Every page has the checksum that the format provides. For the footer, which says where the pages
are and what they hold, the format provides none: `seal` puts a mark and the footer's SHA-256 in
front of it, where no reader looks. A file without them, of other writers, is read as it is.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.errors import schema_error

WRITTEN: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
REMEDY = (
    "The file is truncated or damaged: write it again, or remove it. Run feast-fusion run for one "
    "that feast-fusion has made."
)
_MARK = b"sha256 of footer"
_SEAL_BYTES = len(_MARK) + hashlib.sha256().digest_size
_END_BYTES = 8  # of the footer: its length, and PAR1


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file at `path`, sealed when the block ends.

    options : of `pyarrow.parquet.ParquetWriter`, beside `WRITTEN`
    """
    with pq.ParquetWriter(path, schema, **WRITTEN, **options) as writer:
        yield writer
    seal(path)


def write_parquet(path: Path, table: pa.Table, **options: Any) -> None:
    """Write `table` to `path`; `options` as of `parquet_writer`."""
    with parquet_writer(path, table.schema, **options) as writer:
        writer.write_table(table)


def seal(path: Path) -> None:
    """Put the digest of the footer in front of it."""
    with path.open("r+b") as file:
        footer, _ = _end_of(file)
        file.seek(-len(footer), 2)
        file.write(_MARK + hashlib.sha256(footer).digest() + footer)


def require_seal(path: str | Path) -> None:
    """Refuse a sealed file whose footer is another than was written.

    Raises
    ------
    SchemaError
        It is damaged; the message names it.
    """
    with Path(path).open("rb") as file:
        footer, before = _end_of(file)
    told = before.removeprefix(_MARK)
    if told != before and told != hashlib.sha256(footer).digest():
        raise schema_error(
            str(path),
            got="a footer of another digest than the file names",
            expected="a whole, readable Parquet file",
            remedy=REMEDY,
        )


def _end_of(file: IO[bytes]) -> tuple[bytes, bytes]:
    """The footer with its length and magic, and what stands where its seal would."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_BYTES))
    length = int.from_bytes(file.read(4), "little") + _END_BYTES
    if length > size:  # no Parquet file, which its reader will say
        return b"", b""
    file.seek(max(0, size - length - _SEAL_BYTES))
    end = file.read()
    return end[-length:], end[:-length]
