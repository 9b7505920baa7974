"""What a feature view's source held for a key and when: the slow path of the leakage audit.

It shares no code with the offline store, on purpose: what both agree on was worked out twice.
"""

import hashlib
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.feature_view_projection import FeatureViewProjection

from feast_fusion.errors import StoreUnavailableError, schema_error
from feast_fusion.parquet.declared_source import is_table
from feast_fusion.parquet.parquet_file import named_errors
from feast_fusion.parquet.whole import VERIFIED

Key = tuple[Hashable, ...]
UNKNOWN = (1 << 63) - 1  # a created time that was not recorded: no label sees the row
_TO_MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_BATCH_ROWS = 4096
_VECTOR = pa.list_(pa.float32())


class SourceRow(NamedTuple):
    """One row, times in microseconds UTC: of two rows of a key, the larger tuple is newer.

    Where the source has no created timestamp, `created` is the row's own time.
    """

    ts: int
    created: int
    position: int


@dataclass(frozen=True)
class Rule:
    """Which rows a label at `t` may see: `t - ttl <= ts <= t` and `created <= t`.

    A `ttl_us` of 0 is no bound; with `strictly_before`, `ts < t`.
    """

    ttl_us: int = 0
    strictly_before: bool = False
    created_by_then: bool = True

    def sees(self, row: SourceRow, t: int) -> bool:
        """Whether a label at `t` may see `row`."""
        if row.ts > t or (self.strictly_before and row.ts == t):
            return False
        if self.ttl_us and row.ts < t - self.ttl_us:
            return False
        return row.created <= t or not self.created_by_then

    def newest(self, rows: Iterable[SourceRow], t: int | None) -> SourceRow | None:
        """The newest of a key's rows that a label at `t` may see."""
        if t is None:
            return None
        best: SourceRow | None = None
        for row in rows:
            if self.sees(row, t) and (best is None or row > best):
                best = row
        return best


@dataclass(frozen=True)
class SourceHistory:
    """The source of one view as a feature service projects it, read column by column.

    Raises
    ------
    SchemaError
        The source is neither Parquet files on this machine nor an Iceberg table, or lacks a column.
    StoreUnavailableError
        There is no file.
    """

    view: FeatureView
    projection: FeatureViewProjection
    repo_path: Path

    @property
    def ttl_us(self) -> int:
        """Time to live in microseconds, 0 for none."""
        return (self.view.ttl or timedelta(0)) // timedelta(microseconds=1)

    @property
    def keys(self) -> dict[str, str]:
        """Join keys: the name in the training set and the column of the source."""
        renamed = self.projection.join_key_map
        names = [f.name for f in self.view.entity_columns if f.name != DUMMY_ENTITY_ID]
        return {renamed.get(name, name): self.column(name) for name in names}

    @cached_property
    def dataset(self) -> ds.Dataset:
        """The files in name order, of a table in commit order: a later position is a later row."""
        if is_table(self.view.batch_source):
            from feast_fusion.tables.arrow_dataset import table_dataset  # an extra

            return table_dataset(self.view.batch_source.path)
        path = str(getattr(self.view.batch_source, "path", "")).removeprefix("file://")
        if not path or "://" in path:
            raise schema_error(
                f"feature view {self.view.name!r}",
                got=path or type(self.view.batch_source).__name__,
                expected="a file source on this machine",
                remedy="Audit a copy of the repository whose sources are local files.",
            )
        root = self.repo_path / path
        files = _visible_files(root)
        if not files:
            raise StoreUnavailableError(
                f"{root}: got no Parquet file, expected the source of feature view "
                f"{self.view.name!r}. Write it again, or correct the path of the source."
            )
        schemas = [ds.dataset(file, **_layout(root)).schema for file in files]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
        return ds.dataset(files, schema=schema, **_layout(root))

    def column(self, name: str) -> str:
        """The source's column of a feature, key or time, through the field mapping."""
        mapped = {new: old for old, new in self.view.batch_source.field_mapping.items()}
        for column in (mapped.get(name, name), name):
            if column in self.dataset.schema.names:
                return column
        raise schema_error(
            f"source of feature view {self.view.name!r}",
            got=f"columns {self.dataset.schema.names}",
            expected=f"also {name!r}",
            remedy="Write the column, or correct the view and run feast apply.",
        )

    def rows_by_key(self, wanted: set[Key]) -> dict[Key, list[SourceRow]]:
        """Every row of each wanted key, in the order of the files; rows without a time are not."""
        source = self.view.batch_source
        keys = list(self.keys.values())
        ts = self.column(source.timestamp_field)
        created = source.created_timestamp_column
        created = self.column(created) if created else ts
        found: dict[Key, list[SourceRow]] = {key: [] for key in wanted}
        for first, batch in self._batches(list(dict.fromkeys([*keys, ts, created]))):
            columns = [batch.column(name).to_pylist() for name in keys]
            times = _microseconds(batch.column(ts))
            known = _microseconds(batch.column(created))
            of_row = zip(*columns, strict=True) if keys else (() for _ in times)
            for i, key in enumerate(of_row):
                when, since = times[i], known[i]
                if key in found and when is not None:
                    row = SourceRow(when, UNKNOWN if since is None else since, first + i)
                    found[key].append(row)
        return found

    def values(
        self, feature: str, positions: Iterable[int], kind: pa.DataType | None
    ) -> dict[int, Hashable]:
        """The feature at each position, as `fingerprints` gives it; `kind` None is a vector."""
        wanted = np.unique(np.fromiter(positions, np.int64))
        values: dict[int, Hashable] = {}
        if not len(wanted):
            return values
        for first, batch in self._batches([self.column(feature)]):
            low, high = np.searchsorted(wanted, [first, first + len(batch)])
            if low < high:
                taken = batch.column(0).take(pa.array(wanted[low:high] - first))
                part = fingerprints(taken, kind)
                values.update(zip(wanted[low:high].tolist(), part, strict=True))
        return values

    def all_values(self, feature: str, kind: pa.DataType | None) -> set[Hashable]:
        """Every value the source holds for a feature, of any key."""
        found: set[Hashable] = set()
        for _, batch in self._batches([self.column(feature)]):
            found.update(fingerprints(batch.column(0), kind))
        return found

    def _batches(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The rows in order, each batch with the position of its first row."""
        first = 0
        with named_errors(self.view.batch_source.path):
            for batch in self.dataset.to_batches(
                columns=columns, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_readahead=1
            ):
                yield first, batch
                first += len(batch)


def fingerprints(array: pa.Array, kind: pa.DataType | None) -> list[Hashable]:
    """The values of `array` in the type `kind`, equal when they are the same; null is None.

    `kind` None stands for a float32 vector, whose fingerprint is a digest.
    """
    options = pc.CastOptions(_VECTOR if kind is None else kind, allow_time_truncate=True)
    array = array.cast(options=options)
    if kind is not None:
        return [_hashable(value) for value in array.to_pylist()]
    flat = np.asarray(array.values.to_numpy(zero_copy_only=False), np.float32)
    edges = array.offsets.to_pylist()
    present = array.is_valid().to_pylist()
    return [
        vector_fingerprint(flat[edges[i] : edges[i + 1]]) if there else None
        for i, there in enumerate(present)
    ]


def vector_fingerprint(vector: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """A digest of a float32 vector; zero and minus zero are the same."""
    return hashlib.blake2b((vector + np.float32(0)).tobytes(), digest_size=16).digest()


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((name, _hashable(inner)) for name, inner in value.items())
    if isinstance(value, float) and value != value:
        return "NaN"  # NaN equals nothing, itself included
    return value  # type: ignore[no-any-return]


def _microseconds(column: pa.Array) -> list[int | None]:
    """Times in microseconds UTC, finer ones rounded up: no row is seen before it happened."""
    if not pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    unit = column.type.unit
    numbers: list[int | None] = column.cast(pa.int64()).to_pylist()
    if unit == "ns":
        return [None if n is None else -(-n // 1000) for n in numbers]
    return [None if n is None else n * _TO_MICROSECONDS[unit] for n in numbers]


def _visible_files(root: Path) -> list[str]:
    """The file, or the folder's `*.parquet` that no dot or underscore hides, in name order."""
    if root.is_file():
        return [str(root)]
    inside = (path.relative_to(root) for path in root.rglob("*.parquet"))
    shown = [path for path in inside if not any(part[0] in "._" for part in path.parts)]
    return [str(root / path) for path in sorted(shown, key=lambda path: path.parts)]


def _layout(root: Path) -> dict[str, Any]:
    hive = ds.partitioning(flavor="hive")
    return {"format": VERIFIED, "partitioning": hive, "partition_base_dir": str(root)}
