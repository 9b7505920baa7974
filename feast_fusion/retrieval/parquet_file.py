"""One Parquet file: its footer, what its row groups can hold, and whether it is unchanged."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.retrieval.arrow_types import plain_type

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BUFFER_BYTES = 1 << 20  # without a buffer a column chunk is read whole, which can be gigabytes
_ROUNDING_US = 1_000  # statistics may be coarser or finer than a microsecond


@dataclass(frozen=True)
class RowGroup:
    """Row group `number` of a file; its first row is row `first` of the file."""

    metadata: pq.RowGroupMetaData
    number: int
    first: int
    leaves: dict[str, int]

    @property
    def n_rows(self) -> int:
        """Rows of the group."""
        return int(self.metadata.num_rows)

    def may_hold(self, column: str, earliest: int, latest: int) -> bool:
        """Whether a time of `column` can lie within `[earliest, latest]`, microseconds."""
        if column not in self.leaves:
            return True
        statistics = self.metadata.column(self.leaves[column]).statistics
        try:
            if statistics is None or not statistics.has_min_max:
                return True
            low, high = _microseconds(statistics.min), _microseconds(statistics.max)
        except (OverflowError, ValueError):  # a time that Python's datetime cannot hold
            return True
        if low is None or high is None:
            return True
        return low - _ROUNDING_US <= latest and high + _ROUNDING_US >= earliest


@dataclass(frozen=True)
class ParquetFile:
    """A file whose footer has been read.

    Parameters
    ----------
    stamp
        Size and modification time when the footer was read.
    partition
        Columns that the folder names give, `key=value`.
    """

    filesystem: fs.FileSystem
    path: str
    stamp: tuple[int, int]
    metadata: pq.FileMetaData
    partition: dict[str, str | None]

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns in their plain types."""
        return pa.schema([(field.name, plain_type(field.type)) for field in self._found])

    @cached_property
    def fixed_widths(self) -> dict[str, int]:
        """Length of each column stored as a fixed-size list."""
        fixed = (field for field in self._found if pa.types.is_fixed_size_list(field.type))
        return {field.name: field.type.list_size for field in fixed}

    @cached_property
    def _found(self) -> pa.Schema:
        return self.metadata.schema.to_arrow_schema()

    @cached_property
    def groups(self) -> list[RowGroup]:
        """The row groups in file order."""
        groups, first = [], 0
        for number in range(self.metadata.num_row_groups):
            metadata = self.metadata.row_group(number)
            groups.append(RowGroup(metadata, number, first, self._leaves))
            first += metadata.num_rows
        return groups

    @cached_property
    def _leaves(self) -> dict[str, int]:
        """Number of each physical column by its dotted path."""
        schema = self.metadata.schema
        return {schema.column(i).path: i for i in range(len(schema))}

    def open(self) -> pq.ParquetFile:
        """The file, opened for reading.

        Raises
        ------
        StoreUnavailableError
            It is gone, or another file took its place since the footer was read.
        """
        if stamp_of(self.filesystem.get_file_info(self.path)) != self.stamp:
            raise StoreUnavailableError(
                f"{self.path}: the file was removed or replaced since the retrieval was planned, "
                "expected it unchanged. Call get_historical_features again."
            )
        return pq.ParquetFile(
            self.path,
            metadata=self.metadata,
            filesystem=self.filesystem,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
        )

    def bytes_per_row(self, group: int, columns: Collection[str]) -> int:
        """Uncompressed size of one row of `columns`, at least 1."""
        metadata = self.metadata.row_group(group)
        size = sum(
            metadata.column(i).total_uncompressed_size
            for leaf, i in self._leaves.items()
            if leaf in columns or leaf.split(".", 1)[0] in columns
        )
        return int(max(1, size // max(1, metadata.num_rows)))


def stamp_of(info: fs.FileInfo) -> tuple[int, int]:
    """What tells a replaced file from the same one: size and modification time in ns."""
    return int(info.size or 0), int(info.mtime_ns or 0)


def _microseconds(value: object) -> int | None:
    if not isinstance(value, datetime):  # dates, integers: no pruning
        return None
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
