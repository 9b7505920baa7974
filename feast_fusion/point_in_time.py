"""`PointInTimeOfflineStore`: point-in-time retrieval from Parquet files for any Feast repository.

In `feature_store.yaml`::

    offline_store:
      type: feast_fusion.point_in_time.PointInTimeOfflineStore
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from feast import FeatureView, OnDemandFeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feast_fusion.errors import schema_error
from feast_fusion.parquet.parts import append_table
from feast_fusion.retrieval.asof_join import AsOf
from feast_fusion.retrieval.entity_table import EntityTable, read_entity_table
from feast_fusion.retrieval.feature_join import FeatureJoin, plan_join
from feast_fusion.retrieval.pulled_rows import PulledRows
from feast_fusion.retrieval.retrieval_job import PointInTimeRetrievalJob, Retrieval


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Options of the store.

    Parameters
    ----------
    filter_by_created_timestamp : a label sees a row only once it was created, where the source
        has a created timestamp: a later correction does not leak. A row without a created time
        is not seen. Off, it is still Feast's own argument of a call.
    strictly_before : a label does not see rows of its own instant
    """

    type: Literal["feast_fusion.point_in_time.PointInTimeOfflineStore"] = (
        "feast_fusion.point_in_time.PointInTimeOfflineStore"
    )
    filter_by_created_timestamp: bool = False
    strictly_before: bool = False


class PointInTimeOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """Exactly one output row per entity row, in order, with the newest features known then.

    A label at `t` sees the newest row with `t - ttl <= event_timestamp <= t` (a ttl of 0 is no
    bound), with `filter_by_created_timestamp` of those created at or before `t`; of rows with one
    event timestamp the later created is newer, then the later in the file, files in name order.
    Rows without a match keep nulls.
    Times are compared and returned in microseconds UTC; a finer one is rounded down for labels
    and up for features, so that rounding never shows a label what came after it.
    Logging and monitoring are those of Feast's duckdb store.
    """

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> PointInTimeRetrievalJob:
        """The job that fills `entity_df`: pandas, Arrow, or the path of a Parquet file or folder.

        Everything that can be checked without reading rows is checked here.

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
        entities = read_entity_table(entity_df)
        joins = tuple(
            plan_join(view, feature_refs, config.repo_path, full_feature_names, rule)
            for view in feature_views
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        _check(entities, joins, on_demand)
        return PointInTimeRetrievalJob(
            Retrieval(
                entities,
                joins,
                tuple(on_demand),
                full_feature_names,
                _metadata(entities, feature_refs),
                config.repo_path,
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
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append `table` to the view's source: a new file in a folder, a rewrite of a file."""
        append_table(table, feature_view.batch_source, config.repo_path)
        if progress is not None:
            progress(table.num_rows)


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
