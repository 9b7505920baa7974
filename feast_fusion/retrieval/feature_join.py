"""One feature view in a retrieval: which columns, which rows, and the values of those rows."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from feast import FeatureView, Field
from feast.feature_view import DUMMY_ENTITY_ID
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column
from feast_fusion.errors import schema_error
from feast_fusion.parquet.column_types import is_list
from feast_fusion.parquet.declared_types import declared_type, returned_type
from feast_fusion.parquet.opening import open_source
from feast_fusion.parquet.parquet_source import ParquetSource
from feast_fusion.retrieval.asof_join import ABSENT, AsOf, Newest, newest_rows
from feast_fusion.retrieval.entity_table import EVENT_TIMESTAMP, EntityTable
from feast_fusion.retrieval.key_rows import KeyRows
from feast_fusion.times import to_micros

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Feature:
    """A feature to return: its column in the source, its name and type in the result.

    Parameters
    ----------
    stored : the type in which Feast serves it, whose values history returns
    width : the length of a vector, 0 where it is not declared
    """

    name: str
    column: str
    type: pa.DataType
    stored: pa.DataType
    is_vector: bool
    width: int

    @property
    def is_list(self) -> bool:
        """Whether a value is a list."""
        return is_list(self.type)


@dataclass(frozen=True)
class Matched:
    """Rows of a source that labels see: distinct positions, and for each label which of them.

    Parameters
    ----------
    positions : `(n_distinct,)` int64, rising
    index : `(n_labels,)` int32 into `positions`, -1 where the label sees no row
    """

    positions: NDArray[np.int64]
    index: NDArray[np.int32]


@dataclass(frozen=True)
class FeatureJoin:
    """The plan for one view. `keys` pairs a column of the source with one of the entity table."""

    view: str
    source: ParquetSource
    keys: tuple[tuple[str, str], ...]
    timestamp: str
    created: str | None
    features: tuple[Feature, ...]
    rule: AsOf

    @property
    def entity_keys(self) -> tuple[str, ...]:
        """The key columns, as the entity table names them."""
        return tuple(name for _, name in self.keys)

    def identities(self, edges: tuple[int, int]) -> pa.Table:
        """Keys, named as in the entity table, and `event_timestamp` of the rows within `edges`.

        Both edges, microseconds, are in it.
        """
        columns = [column for column, _ in self.keys]
        found = self.source.keys(columns, self.timestamp, edges)
        taken = {name: found.column(column) for column, name in self.keys}
        return pa.table(taken | {EVENT_TIMESTAMP: found.column(self.timestamp)})

    def labels(self, entities: EntityTable) -> pl.DataFrame:
        """Keys and times of the entity rows, in the types of this view's source."""
        keys = [(name, self.source.type_of(column)) for column, name in self.keys]
        return entities.labels(
            keys, f"the source of feature view {self.view!r}, {self.source.path}"
        )

    @property
    def key_rows(self) -> KeyRows:
        """Keys and times of the rows of this view's source."""
        columns = tuple(column for column, _ in self.keys)
        return KeyRows(self.source, columns, self.timestamp, self.created)

    def window(self, entities: EntityTable) -> tuple[int, int] | None:
        """Earliest and latest time, microseconds, of a row that a label may see; None without."""
        span = entities.span()
        if span is None:
            return None
        first, last = map(to_micros, span)
        return first - self.rule.ttl_us if self.rule.ttl_us else -(1 << 63), last

    def newest(self, entities: EntityTable) -> Newest:
        """For every entity row the newest row of this view it may see."""
        window = self.window(entities)
        if window is None:
            return Newest(np.full(len(entities), ABSENT, np.int64), 0)
        read = self.key_rows
        return newest_rows(self.labels(entities), read.read(window), read.names, self.rule)

    def matched(self, newest: Newest) -> Matched:
        """What entity rows see, as distinct rows."""
        self.warn_of_hidden(newest.n_hidden, len(newest.positions))
        return _matched(newest.positions, self.source.n_rows)

    def warn_of_hidden(self, n_hidden: int, n_labels: int) -> None:
        """Log how many of the labels do not see a row because of its created time."""
        if n_hidden:
            _log.warning(
                "feature view %r: %d of %d entity rows see an older row, or none, because newer "
                "ones were created after them (filter_by_created_timestamp). Where %r is only the "
                "time of a load, switch the rule off.",
                self.view,
                n_hidden,
                n_labels,
                self.created,
            )


def _matched(found: NDArray[np.int64], n_rows: int) -> Matched:
    """Distinct positions by marking them: linear in the source, no sort of the labels."""
    is_seen = np.zeros(n_rows + 1, np.bool_)
    is_seen[found] = True  # an absent row marks the last place, which no position has
    is_seen[-1] = False
    number = np.cumsum(is_seen, dtype=np.int32) - np.int32(1)
    number[-1] = -1
    return Matched(np.flatnonzero(is_seen), number[found])


def plan_join(
    view: FeatureView,
    feature_refs: Sequence[str],
    repo_path: str | Path | None,
    full_feature_names: bool,
    rule: AsOf,
) -> FeatureJoin:
    """How to join `view`: its files opened, every column found and its type checked.

    Raises
    ------
    SchemaError
        The source lacks a column, or holds another type than declared.
    StoreUnavailableError
        The file is gone.
    """
    what = f"feature view {view.name!r}, source {view.batch_source.name!r}"
    source = open_source(view.batch_source, repo_path, what)
    columns = _Columns(view, source)
    created = view.batch_source.created_timestamp_column
    return FeatureJoin(
        view=view.name,
        source=source,
        keys=columns.keys(),
        timestamp=columns.find(view.batch_source.timestamp_field, "timestamp_field"),
        created=columns.find(created, "created_timestamp_column") if created else None,
        features=tuple(columns.feature(f, full_feature_names) for f in _wanted(view, feature_refs)),
        rule=replace(rule, ttl_us=(view.ttl or timedelta(0)) // timedelta(microseconds=1)),
    )


def _wanted(view: FeatureView, feature_refs: Sequence[str]) -> list[Field]:
    prefix = f"{view.projection.name_to_use()}:"
    names = [ref.removeprefix(prefix) for ref in feature_refs if ref.startswith(prefix)]
    declared = {field.name: field for field in [*view.features, *view.projection.features]}
    return [declared[name] for name in dict.fromkeys(names)]


class _Columns:
    """The columns of a view in its source, which must have all of them."""

    def __init__(self, view: FeatureView, source: ParquetSource) -> None:
        self._view = view
        self._source = source

    def find(self, name: str, role: str) -> str:
        if not self._source.has(name):
            raise schema_error(
                f"{self._source.what}, {self._source.path}",
                got=f"columns {list(self._source.columns)}",
                expected=f"also {name!r}, its {role}",
                remedy="The schema of the source has changed: write the column, or correct the "
                "view.",
            )
        return name

    def keys(self) -> tuple[tuple[str, str], ...]:
        renamed = self._view.projection.join_key_map
        names = [f.name for f in self._view.entity_columns if f.name != DUMMY_ENTITY_ID]
        return tuple((self.find(name, "join key"), renamed.get(name, name)) for name in names)

    def feature(self, field: Field, full_feature_names: bool) -> Feature:
        column = self.find(field.name, f"feature {field.name!r}")
        where = f"{self._source.what}, {self._source.path}"
        found = self._source.type_of(column)
        stored = declared_type(field, found, where)
        returned = returned_type(stored, found)
        prefix = self._view.projection.name_alias or self._view.name
        name = feature_column(prefix, field.name) if full_feature_names else field.name
        return Feature(name, column, returned, stored, *self._vector(field, column, returned))

    def _vector(self, field: Field, column: str, found: pa.DataType) -> tuple[bool, int]:
        """Whether the feature is a vector, and its width: what is declared decides, not the data.

        A list of floats that happens to have one length in one retrieval stays a list, so a
        training set has the same shape whatever rows it is built from.
        """
        if not is_list(found) or not pa.types.is_floating(found.value_type):
            return False, 0
        fixed = self._source.fixed_width(column)
        if field.vector_index:
            return True, int(field.vector_length or fixed)
        return fixed > 0, fixed
