"""`PointInTimeOfflineStore`: point-in-time retrieval from Parquet files for any Feast repository.

In `feature_store.yaml`::

    offline_store:
      type: feast_fusion.point_in_time.PointInTimeOfflineStore
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView, FileSource, OnDemandFeatureView
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.utils import compute_non_entity_date_range

from feast_fusion.errors import schema_error
from feast_fusion.on_demand import requested_on_demand
from feast_fusion.parquet.declared_source import is_table
from feast_fusion.parquet.declared_types import view_types
from feast_fusion.parquet.opening import local_files
from feast_fusion.parquet.parts import append_table, save_logged
from feast_fusion.retrieval.asof_join import AsOf
from feast_fusion.retrieval.date_range import entities_between
from feast_fusion.retrieval.engine import Engine, LocalEngine
from feast_fusion.retrieval.entity_table import EntityTable, Frame, read_entity_table
from feast_fusion.retrieval.feature_join import FeatureJoin, plan_join
from feast_fusion.retrieval.pulled_rows import PulledRows
from feast_fusion.retrieval.registered_tables import (
    is_query,
    rows_between,
    run_query,
    statistics,
)
from feast_fusion.retrieval.retrieval_job import PointInTimeRetrievalJob, Retrieval
from feast_fusion.retrieval.source_columns import stored_columns


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Options of the store.

    Parameters
    ----------
    filter_by_created_timestamp : a label sees a row only once it was created, where the source
        has a created timestamp: a later correction does not leak. A row without a created time
        is not seen. Off, it is still Feast's own argument of a call.
    strictly_before : a label does not see rows of its own instant
    engine : where rows are found: `{type: local}`, or `{type: spark, url: sc://host:port}` with
        the other options of `SparkEngine`
    staging_location : a folder or URI where `to_remote_storage` of the engine spark writes
    """

    type: Literal["feast_fusion.point_in_time.PointInTimeOfflineStore"] = (
        "feast_fusion.point_in_time.PointInTimeOfflineStore"
    )
    filter_by_created_timestamp: bool = False
    strictly_before: bool = False
    engine: Engine = LocalEngine()


class PointInTimeOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Exactly one output row per entity row, in order, with the newest features known then.

    A label at `t` sees the newest row with `t - ttl <= event_timestamp <= t` (a ttl of 0 is no
    bound), with `filter_by_created_timestamp` of those created at or before `t`; of rows with one
    event timestamp the later created is newer, then the later in the file, files in name order.
    Rows without a match keep nulls.
    Times are compared and returned in microseconds UTC; a finer one is rounded down for labels
    and up for features, so that rounding never shows a label what came after it.
    The tables of monitoring are those of Feast's duckdb store.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Frame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PointInTimeRetrievalJob:
        """The job that fills `entity_df`: pandas, polars, Arrow, SQL, or the path of Parquet.

        SQL selects from the registered sources, by their names. Without `entity_df` the rows are
        each entity and event timestamp of the sources from `start_date` (by default the longest
        ttl, or 30 days, before the end) to `end_date`. Everything that can be checked without
        reading rows of features is checked here.

        Raises
        ------
        SchemaError
            The entity table lacks a time or key column or has a key of another type; a source
            lacks a column, holds another type than declared or is truncated; a name occurs twice.
        StoreUnavailableError
            A source is gone.
        """
        rule = AsOf(
            filter_by_created_timestamp=config.offline_store.filter_by_created_timestamp
            or filter_by_created_timestamp,
            strictly_before=config.offline_store.strictly_before,
        )
        joins = tuple(
            plan_join(view, feature_refs, config.repo_path, full_feature_names, rule)
            for view in feature_views
        )
        if entity_df is None:
            window = compute_non_entity_date_range(feature_views, start_date, end_date)
            entities = entities_between(joins, *window)
        elif isinstance(entity_df, str) and is_query(entity_df):
            entities = read_entity_table(run_query(entity_df, registry, project, config.repo_path))
        else:
            entities = read_entity_table(entity_df)
        names = [view.projection.name_to_use() for view in feature_views]
        on_demand = requested_on_demand(feature_refs, names, project, registry)
        _check(entities, joins, on_demand)
        return PointInTimeRetrievalJob(
            Retrieval(
                entities,
                joins,
                tuple(on_demand),
                full_feature_names,
                _metadata(entities, feature_refs),
                config.repo_path,
                config.offline_store.engine,
                _staging(config.offline_store),
            )
        )

    @staticmethod
    def pull_latest_from_table_or_query(*args: Any, **kwargs: Any) -> PulledRows:
        """The newest row of each key within two times; parameters as those of `PulledRows`."""
        return PulledRows(*args, **kwargs, only_newest=True)

    @staticmethod
    def pull_all_from_table_or_query(*args: Any, **kwargs: Any) -> PulledRows:
        """All rows within two times; parameters as those of `PulledRows`."""
        return PulledRows(*args, **kwargs)

    @staticmethod
    def compute_monitoring_metrics(
        config: RepoConfig,
        data_source: DataSource,
        feature_columns: list[tuple[str, str]],
        timestamp_field: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        histogram_bins: int = 20,
        top_n: int = 10,
    ) -> list[dict[str, Any]]:
        """Feast's statistics of `feature_columns`, of all rows that the store's reader finds."""
        names = [name for name, _ in feature_columns]
        rows = rows_between(data_source, names, (start_date, end_date), config.repo_path)
        return statistics(rows, feature_columns, histogram_bins, top_n)

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """The latest event timestamp; None without any."""
        rows = rows_between(data_source, [timestamp_field], (None, None), config.repo_path)
        latest: datetime | None = pc.max(rows.column(timestamp_field)).as_py()
        return latest

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add the logged rows to the folder of the destination, which is created if need be."""
        table = data if isinstance(data, pa.Table) else local_files(data, "logged features").read()
        destination = logging_config.destination
        target = destination.to_data_source()
        save_logged(table, target, config.repo_path, destination.partition_by)

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Feast's look at a source, which takes the name of an Iceberg table for a missing path."""
        if not is_table(data_source):
            super().validate_data_source(config, data_source)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> list[tuple[str, str]]:
        """The columns as the files have them; of a source without any, those of its views."""
        return stored_columns(config, data_source)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append `table` to the view's source: a new file in a folder, a rewrite of a file."""
        declared = view_types(feature_view)
        append_table(table, feature_view.batch_source, config.repo_path, declared)
        if progress is not None:
            progress(table.num_rows)


def _staging(options: PointInTimeOfflineStoreConfig) -> FileSource | None:
    if not options.staging_location:
        return None
    return FileSource(
        path=options.staging_location,
        s3_endpoint_override=options.staging_location_endpoint_override,
    )


def _check(
    entities: EntityTable, joins: Sequence[FeatureJoin], on_demand: Sequence[OnDemandFeatureView]
) -> None:
    for join in joins:
        join.labels(entities)
    for view in on_demand:
        for name in view.get_request_data_schema():
            entities.require(name)
    names = [*entities.table.column_names, *(f.name for join in joins for f in join.features)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise schema_error(
            "retrieval",
            got=f"{repeated[0]!r} more than once among entity columns and features",
            expected="each name once",
            remedy="Pass full_feature_names=True, or rename the entity column.",
        )


def _metadata(entities: EntityTable, feature_refs: list[str]) -> RetrievalMetadata:
    earliest, latest = entities.span() or (None, None)
    keys = [name for name in entities.table.column_names if name != entities.timestamp]
    return RetrievalMetadata(list(feature_refs), keys, earliest, latest)
