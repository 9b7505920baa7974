"""The skew audit: what was served, against what the offline store gives for the same instants."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from feast import FeatureService, FeatureStore

from feast_fusion.column_names import feature_column, logical_name
from feast_fusion.errors import FeatureNotFoundError, schema_error
from feast_fusion.feature_service import encoder_of
from feast_fusion.training_set import TrainingSet
from intake.context import context_column
from intake.event import Event
from intake.journal_content import read_events
from intake.workspace import Workspace
from training.audit.context_skew import find_lost_context
from training.audit.served_rows import read_served
from training.audit.skew_report import SkewReport
from training.audit.source_history import SourceHistory
from training.audit.view_skew import audit_view
from training.model_versions import ModelVersions
from transformations.served_files import REQUEST, stamp_column


def audit_log(
    workspace: Workspace,
    store: FeatureStore,
    service: FeatureService,
    *,
    limit: int = 0,
    folded_at: datetime | None = None,
) -> SkewReport:
    """The audit of the newest `limit` served rows of a workspace, 0 for all.

    Parameters
    ----------
    folded_at : as in `audit_served`; rows that were served later are left out

    Raises
    ------
    FeatureNotFoundError
        Nothing was logged.
    """
    context = workspace.dataset.interactions.context.given
    columns = [*logged_columns(service), *map(context_column, context)]
    encoder_id = encoder_of(service)
    others = [v.name for v in ModelVersions(workspace).all() if v.encoder_id != encoder_id]
    served = read_served(workspace.served, columns, limit, folded_at, others)
    if not len(served.table):
        raise FeatureNotFoundError(
            f"{workspace.served}: got no rows that feature service {service.name!r} served "
            f"({served.n_other:,} of other versions), expected some. Serve with --log-served, a "
            "share of the answers such as 0.1, then audit."
        )
    events = read_events(workspace.events)
    report = audit_served(
        served.table, store, service, events, n_other=served.n_other, folded_at=folded_at
    )
    if not context:
        return report
    trained = TrainingSet.open(workspace.training_set).table
    return replace(report, lost_context=(*find_lost_context(served.table, trained, context),))


def audit_served(
    served: pa.Table,
    store: FeatureStore,
    service: FeatureService,
    events: Sequence[Event],
    *,
    n_other: int = 0,
    folded_at: datetime | None = None,
) -> SkewReport:
    """Served rows against the offline store of the same feature service.

    Parameters
    ----------
    served : the columns that `logged_columns` names
    events : the live events, which tell what was not known yet when a row was served
    n_other : rows that another version of the service served, for the report
    folded_at : the offline sources have every event stamped before this instant, so that a version
        they lack is a mismatch; None: the sources may lack any event

    Raises
    ------
    SchemaError
        A column is missing or of another type, or a view is not of one user or item key.
    StoreUnavailableError
        A source is gone.
    """
    _require(served, logged_columns(service))
    by_key = _by_key(events)
    views = tuple(
        audit_view(history, served, store, by_key, folded_at)
        for history in _histories(store, service)
    )
    return SkewReport(len(served), n_other, views)


def logged_columns(service: FeatureService) -> list[str]:
    """What a log of the service has: the request, the features, and a stamp per view."""
    columns = list(REQUEST)
    for projection in service.feature_view_projections:
        view = projection.name_to_use()
        columns += [logical_name(feature_column(view, f.name)) for f in projection.features]
        columns.append(stamp_column(view))
    return columns


def _histories(store: FeatureStore, service: FeatureService) -> Iterator[SourceHistory]:
    for projection in service.feature_view_projections:
        view = store.get_feature_view(projection.name)
        yield SourceHistory(view, projection, Path(store.config.repo_path))


def _by_key(events: Sequence[Event]) -> dict[str, pl.DataFrame]:
    """The events as `match_versions` takes them, by join key."""
    return {
        key: pl.DataFrame(
            [(getattr(event, key), event.time, event.received) for event in events],
            schema={"key": pl.String, "time": pl.Int64, "received": pl.Int64},
            orient="row",
        )
        for key in ("user_id", "item_id")
    }


def _require(served: pa.Table, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in served.column_names]
    if missing:
        raise schema_error(
            "served log",
            got=f"columns {served.column_names}",
            expected=f"also {missing}",
            remedy="Audit the feature service that was served.",
        )
