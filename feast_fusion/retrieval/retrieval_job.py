"""The retrieval job: rows found first, values gathered last."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from feast import OnDemandFeatureView
from feast.data_source import DataSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage
from numpy.typing import NDArray
from pyarrow import fs

from feast_fusion.column_names import feature_column
from feast_fusion.errors import NotOfferedError
from feast_fusion.parquet.column_types import is_list, plain, plain_type
from feast_fusion.parquet.declared_source import is_parquet, is_table, locate
from feast_fusion.parquet.location import SUFFIXES
from feast_fusion.parquet.parts import save_table
from feast_fusion.retrieval.engine import Engine, SparkEngine
from feast_fusion.retrieval.entity_table import EntityTable
from feast_fusion.retrieval.feature_columns import arrow_columns, indexed_columns, indexed_list
from feast_fusion.retrieval.feature_join import FeatureJoin, Matched
from feast_fusion.training_set import Indexed, TrainingSet

_ON_DEMAND_ROWS = 8192  # rows whose vectors are laid out at once for an on-demand view


@dataclass(frozen=True)
class Retrieval:
    """Everything a retrieval was asked for, checked; nothing of the sources read but footers."""

    entities: EntityTable
    joins: tuple[FeatureJoin, ...]
    on_demand: tuple[OnDemandFeatureView, ...]
    full_feature_names: bool
    metadata: RetrievalMetadata
    repo_path: Path | None
    engine: Engine
    staging: FileSource | None

    def matches(self) -> Iterator[tuple[FeatureJoin, Matched]]:
        """What the entity rows see of each view."""
        found = self.engine.newest(self.joins, self.entities)
        for join, newest in zip(self.joins, found, strict=True):
            yield join, join.matched(newest)


class Job(RetrievalJob):  # type: ignore[misc]
    """What Feast's base class needs to validate a result, to run on-demand views and to save it."""

    full_feature_names = False
    on_demand_feature_views: Sequence[OnDemandFeatureView] = ()
    metadata: RetrievalMetadata | None = None
    repo_path: Path | None = None

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result, on-demand features included, as Parquet at `storage`."""
        save_table(self.to_arrow(), storage.to_data_source(), self.repo_path, allow_overwrite)

    def to_sql(self) -> str:
        """Not offered: no SQL stands behind the rows."""
        raise NotOfferedError(
            "to_sql: got a job of PointInTimeOfflineStore, which joins without SQL, expected one "
            "with a query. Use to_df, to_arrow or to_training_set."
        )

    def to_remote_storage(self) -> list[str]:
        """Not offered: this process has the result."""
        raise NotOfferedError(
            "to_remote_storage: got a result that this process makes, expected the engine spark, "
            "a staging_location and no on-demand features. Use "
            "persist(SavedDatasetFileStorage(path)), or write to_arrow() there."
        )


class _Answer(Job):
    """The job of a retrieval."""

    def __init__(self, retrieval: Retrieval) -> None:
        self._retrieval = retrieval
        self.full_feature_names = retrieval.full_feature_names
        self.on_demand_feature_views = list(retrieval.on_demand)
        self.metadata = retrieval.metadata
        self.repo_path = retrieval.repo_path


class PointInTimeRetrievalJob(_Answer):
    """Features of exactly the entity rows, in their order.

    `to_df`, `to_arrow`, `persist` and saved data sets are Feast's; `to_training_set` keeps each
    distinct vector once. Each call reads the sources anew.
    """

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        entities = self._retrieval.entities
        columns = dict(zip(entities.table.column_names, entities.table.columns, strict=True))
        for join, matched in self._retrieval.matches():
            columns |= arrow_columns(join, matched)
        return pa.table(columns)

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result as Parquet at `storage`.

        With the engine `spark` its workers write a folder, on an object store too, and no process
        holds more than a part of the features. This process writes what has on-demand features,
        and a single file, as every other engine does.
        """
        target = storage.to_data_source()
        if not self._is_written_by_workers(target):
            super().persist(storage, allow_overwrite, timeout)
            return
        filesystem, folder = locate(target, self.repo_path)
        is_there = filesystem.get_file_info(folder).type != fs.FileType.NotFound
        if is_there and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=target.path)
        self._write(target)

    def to_remote_storage(self) -> list[str]:
        """The paths of the result's files, in a new folder of the store's `staging_location`.

        Raises
        ------
        NotOfferedError
            There is no `staging_location`, the engine is not `spark`, or there are on-demand
            features.
        """
        staging = self._retrieval.staging
        if staging is None:
            return super().to_remote_storage()
        target = FileSource(
            path=f"{staging.path.rstrip('/')}/{uuid.uuid4().hex}",
            s3_endpoint_override=staging.s3_endpoint_override,
        )
        if not self._is_written_by_workers(target):
            return super().to_remote_storage()
        return self._write(target)

    def _is_written_by_workers(self, target: DataSource) -> bool:
        retrieval = self._retrieval
        is_folder = is_parquet(target) and not is_table(target)
        return (
            isinstance(retrieval.engine, SparkEngine)
            and is_folder
            and not target.path.endswith(SUFFIXES)
            and not retrieval.on_demand
            and len(retrieval.entities) > 0
        )

    def _write(self, target: FileSource) -> list[str]:
        retrieval = self._retrieval
        assert isinstance(retrieval.engine, SparkEngine)
        filesystem, folder = locate(target, self.repo_path)
        return retrieval.engine.write(retrieval.joins, retrieval.entities, filesystem, folder)

    def to_training_set(self) -> TrainingSet:
        """The same rows, with each distinct vector and list held once.

        Scalar features, entity columns and labels are in `table`. A list of floats is a vector
        where its field declares `vector_index=True`, or where the source stores a fixed-size
        list; every other list is in `lists`. On-demand views run on a bounded number of rows at
        a time.

        Raises
        ------
        SchemaError
            A vector has another width than declared, or a null inside.
        """
        entities = self._retrieval.entities
        columns = dict(zip(entities.table.column_names, entities.table.columns, strict=True))
        vectors: dict[str, Indexed] = {}
        lists: dict[str, Indexed] = {}
        for join, matched in self._retrieval.matches():
            found, found_vectors, found_lists = indexed_columns(join, matched)
            columns |= found
            vectors |= found_vectors
            lists |= found_lists
        stored = TrainingSet(pa.table(columns), vectors, lists)
        return _with_on_demand(stored, self._retrieval) if self._retrieval.on_demand else stored


class _Rows(_Answer):
    """Rows whose stored features are known already; running it adds the on-demand features."""

    def __init__(self, retrieval: Retrieval, table: pa.Table) -> None:
        super().__init__(retrieval)
        self._table = table

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table


def _with_on_demand(stored: TrainingSet, retrieval: Retrieval) -> TrainingSet:
    parts = list(_on_demand_columns(stored, retrieval))
    added = pa.concat_tables(parts, promote_options="permissive")
    widths = {
        name: field.vector_length
        for view in retrieval.on_demand
        for field in view.features
        if field.vector_index
        for name in (field.name, feature_column(view.projection.name_to_use(), field.name))
    }
    table, vectors, lists = stored.table, dict(stored.vectors), dict(stored.lists)
    for name in added.column_names:
        column = plain(added.column(name), plain_type(added.schema.field(name).type))
        if not is_list(column.type):
            table = table.append_column(name, column)
            continue
        every_row = indexed_list(column, np.arange(len(stored), dtype=np.int32))
        if name in widths:
            vectors[name] = _as_vectors(every_row, widths[name])
        else:
            lists[name] = every_row
    return TrainingSet(table, vectors, lists)


def _on_demand_columns(stored: TrainingSet, retrieval: Retrieval) -> Iterator[pa.Table]:
    for start in range(0, max(1, len(stored)), _ON_DEMAND_ROWS):
        rows = np.arange(start, min(start + _ON_DEMAND_ROWS, len(stored)))
        table = stored.take(rows).to_arrow()
        yield _Rows(retrieval, table).to_arrow().drop_columns(table.column_names)


def _as_vectors(lists: Indexed, width: int) -> Indexed:
    flat: NDArray[np.float32] = pa.array(lists.values).flatten().to_numpy().astype(np.float32)
    return Indexed(flat.reshape(len(lists.values), width or -1), lists.index)
