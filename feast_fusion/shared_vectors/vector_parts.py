"""The files of one encoder's vectors at a place that several machines reach.

A part appears whole, under a name that its content decides, and never changes: so nobody locks,
the same vectors written twice are one file, and a part may be removed at any time. A row has the
checksum that it has in a machine's own cache. docs/decisions/0022-shared-vectors.md says why.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, partial

import numpy as np
import pyarrow as pa
from pyarrow import fs

from feast_fusion.errors import SchemaError, StoreUnavailableError, schema_error
from feast_fusion.parquet.opening import open_files
from feast_fusion.parquet.parquet_source import ParquetSource, Positions
from feast_fusion.parquet.parts import upload, write_batches
from feast_fusion.record_cache.record_file import checksum
from feast_fusion.shared_place import open_place, reached

SHARED = ("vectors", "FUSION_VECTORS")  # see `reached`

_NAME = re.compile(r"part-[0-9a-f]{32}\.parquet")
_KEY, _CRC, _VALUE = "digest", "crc", "vector"
_KEY_BYTES = 32
_GROUP_BYTES = 4 << 20  # what one request to an object store fetches at about its full rate


class VectorParts:
    """Parts of one encoder. Nothing is reached before it is needed.

    Parameters
    ----------
    place : a folder that the machines mount, or `s3://bucket/folder` and what else pyarrow knows

    Raises
    ------
    StoreUnavailableError
        By every use: the place cannot be reached.
    """

    def __init__(self, place: str, encoder_id: str) -> None:
        self._place = place
        self._encoder_id = encoder_id

    def sizes(self) -> dict[str, int]:
        """Bytes of each part by its name, in the order of names."""
        with reached(self._place, *SHARED):
            filesystem, folder = self._located
            selector = fs.FileSelector(folder, allow_not_found=True)
            found = {i.base_name: int(i.size or 0) for i in filesystem.get_file_info(selector)}
        return {name: found[name] for name in sorted(found) if _NAME.fullmatch(name)}

    def path(self, name: str) -> str:
        """Of a part, as messages name it."""
        return f"{self._place.rstrip('/')}/{self._encoder_id}/{name}"

    def read_keys(self, name: str) -> list[bytes]:
        """The keys of a part, in the order of its rows; errors as of `read`."""
        keys: list[bytes] = self._columns(name, [_KEY], None).column(_KEY).to_pylist()
        return keys

    def read(self, name: str, rows: Positions | None = None) -> dict[bytes, bytes]:
        """The vectors of `rows` (rising, distinct) by their keys; None is every row.

        Raises
        ------
        SchemaError
            The part is damaged, or no longer there.
        """
        table = self._columns(name, [_KEY, _CRC, _VALUE], rows)
        found = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        broken = sum(crc != checksum(key, value) for key, crc, value in found)
        if broken:
            raise schema_error(
                self.path(name),
                got=f"{broken} of {len(found)} vectors that fail their checksum",
                expected="vectors as they were written",
                remedy="Run feast-fusion cache verify.",
            )
        return {key: value for key, _, value in found}

    def write(self, vectors: Mapping[bytes, bytes]) -> str:
        """Add a part of `vectors` by key, all of one length; its name."""
        width = len(next(iter(vectors.values())))
        content = hashlib.sha256()
        for key, value in vectors.items():
            content.update(key + value)
        name = f"part-{content.hexdigest()[:32]}.parquet"
        crcs = [checksum(key, value) for key, value in vectors.items()]
        table = pa.table(
            {
                _KEY: pa.array(vectors.keys(), pa.binary(_KEY_BYTES)),
                _CRC: pa.array(crcs, pa.uint32()),
                _VALUE: pa.array(vectors.values(), pa.binary(width)),
            }
        )
        n_rows = max(1, _GROUP_BYTES // width)
        groups = [table.slice(first, n_rows) for first in range(0, len(table), n_rows)]
        with reached(self._place, *SHARED):
            filesystem, folder = self._located
            write = partial(write_batches, schema=table.schema, batches=groups)
            upload(filesystem, f"{folder}/{name}", write)
        return name

    def remove(self, names: Sequence[str]) -> None:
        """Remove parts; one that is gone already is no error."""
        gone = set(names) - self.sizes().keys()
        with reached(self._place, *SHARED):
            filesystem, folder = self._located
            for name in set(names) - gone:
                filesystem.delete_file(f"{folder}/{name}")

    @cached_property
    def _located(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the folder of the encoder there."""
        filesystem, root = open_place(self._place)
        return filesystem, f"{root}/{self._encoder_id}"

    def _columns(self, name: str, columns: Sequence[str], rows: Positions | None) -> pa.Table:
        try:
            with reached(self._place, *SHARED):
                filesystem, folder = self._located
                source = open_files(filesystem, f"{folder}/{name}", "shared vectors")
                self._require_types(name, source)
                asked = np.arange(source.n_rows) if rows is None else rows
                parts = source.gather(columns, asked, max(1, len(asked)))
                return pa.concat_tables([source.no_rows(columns), *parts])
        except (SchemaError, StoreUnavailableError) as error:
            self.sizes()  # a place that is lost is no damage
            raise SchemaError(str(error)) from error

    def _require_types(self, name: str, source: ParquetSource) -> None:
        types = {column: source.type_of(column) for column in source.columns}
        value = types.pop(_VALUE, pa.null())
        expected = {_KEY: pa.binary(_KEY_BYTES), _CRC: pa.uint32()}
        if types != expected or not pa.types.is_fixed_size_binary(value):
            raise schema_error(
                self.path(name),
                got=source.schema.to_string(),
                expected=f"{_KEY}, {_CRC} and {_VALUE} as this version writes them",
                remedy="Run feast-fusion cache verify.",
            )
