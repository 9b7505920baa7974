"""The skew audit: what was served, against what the offline store gives for the same instants."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from feast import FeatureService, FeatureStore
from numpy.typing import NDArray

from feast_fusion.column_names import logical_name
from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP
from intake.event import Event
from training.audit.skew import (
    FLOAT16,
    FLOAT32,
    MAX_EXAMPLES,
    FeatureSkew,
    Rounding,
    compare_feature,
)
from training.audit.skew_report import SkewReport, ViewSkew
from training.audit.source_history import SourceHistory
from training.audit.version_matching import Versions, match_versions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP = "__event_timestamp"
_REQUEST = ("user_id", "item_id", "event_timestamp")


def audit_served(
    served: pa.Table,
    store: FeatureStore,
    service: FeatureService,
    events: Sequence[Event],
    *,
    n_other: int = 0,
    folded_at: datetime | None = None,
    batch_views: Collection[str] = (),
) -> SkewReport:
    """Served rows against the offline store of the same feature service.

    Parameters
    ----------
    served : the columns that `logged_columns` names
    events : the live events, which tell what was not known yet when a row was served
    folded_at : the offline sources have all of them that are stamped before this instant, so that
        a version of then which they lack is a mismatch; None: it need not be there yet
    batch_views : views that live events reach only when they are materialized

    Raises
    ------
    SchemaError
        A column is missing or of another type, or a view is not of one user or item key.
    StoreUnavailableError
        A source is gone.
    """
    _require(served, logged_columns(service))
    live = _live(events)
    views = tuple(
        _audit_view(
            history, served, store, live, folded_at, is_batch=history.view.name in batch_views
        )
        for history in _histories(store, service)
    )
    return SkewReport(len(served), n_other, views)


def logged_columns(service: FeatureService) -> list[str]:
    """What a log of the service has: the request, the features, and a stamp per view."""
    columns = list(_REQUEST)
    for projection in service.feature_view_projections:
        view = projection.name_to_use()
        columns += [logical_name(f"{view}__{f.name}") for f in projection.features]
        columns.append(f"{view}{_STAMP}")
    return columns


def _histories(store: FeatureStore, service: FeatureService) -> Iterator[SourceHistory]:
    for projection in service.feature_view_projections:
        view = store.get_feature_view(projection.name)
        yield SourceHistory(view, projection, Path(store.config.repo_path))


def _live(events: Sequence[Event]) -> dict[str, pl.DataFrame]:
    """The events as `match_versions` takes them, by join key."""
    return {
        key: pl.DataFrame(
            [(getattr(event, key), event.time, event.received) for event in events],
            schema={"key": pl.String, "time": pl.Int64, "received": pl.Int64},
            orient="row",
        )
        for key in ("user_id", "item_id")
    }


def _audit_view(
    history: SourceHistory,
    served: pa.Table,
    store: FeatureStore,
    events: Mapping[str, pl.DataFrame],
    folded_at: datetime | None,
    *,
    is_batch: bool,
) -> ViewSkew:
    key = _key_of(history)
    view = history.projection.name_to_use()
    requested = _micros(served["event_timestamp"]).to_numpy()
    versions = match_versions(
        served[key].to_pylist(),
        requested,
        _micros(served[f"{view}{_STAMP}"]).to_pylist(),
        _source_rows(history, key, served[key]),
        events[key],
        _materialized(history, requested) if is_batch else None,
    )
    if folded_at is not None:
        since = versions.as_of > _since_epoch(folded_at)
        versions = replace(versions, unfolded=versions.unfolded & since)
    rows = np.flatnonzero(versions.comparable)
    offline = _ask(store, history, key, served[key].take(pa.array(rows)), versions.as_of[rows])
    compared = served.take(pa.array(rows))
    features = tuple(_compare(store, history, compared, offline, versions.may_be_rewritten[rows]))
    return ViewSkew(
        view=view,
        behind=int((versions.behind | versions.unapplied).sum()),
        max_behind_s=float(versions.behind_us.max(initial=0) / 1e6),
        ahead=int(versions.ahead.sum()),
        unfolded=int(versions.unfolded.sum()),
        features=features,
        examples=tuple(_in_words(features, compared, versions, rows)),
    )


def _materialized(history: SourceHistory, requested: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) microseconds: the end of the last materialization before each request, 0 for none."""
    ends = sorted(_since_epoch(end) for _, end in history.view.materialization_intervals)
    before = np.array([0, *ends], np.int64)
    found: NDArray[np.int64] = before[np.searchsorted(before, requested, side="right") - 1]
    return found


def _since_epoch(instant: datetime) -> int:
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _key_of(history: SourceHistory) -> str:
    keys = list(history.keys)
    if keys not in (["user_id"], ["item_id"]):
        raise schema_error(
            f"feature view {history.view.name!r}",
            got=f"the join keys {keys}",
            expected="user_id or item_id",
            remedy="Audit a service of views of users and of items.",
        )
    return keys[0]


def _source_rows(history: SourceHistory, key: str, wanted: pa.ChunkedArray) -> pl.DataFrame:
    """key and ts in microseconds of the rows that the source has of the wanted keys."""
    key_column = history.keys[key]
    time = history.column(history.view.batch_source.timestamp_field)
    chosen = ds.field(key_column).isin(wanted.unique())
    table = history.dataset.to_table(columns=[key_column, time], filter=chosen)
    columns = [table[key_column].cast(pa.string()), _micros(table[time])]
    return pl.DataFrame(pl.from_arrow(pa.table(columns, names=["key", "ts"])))


def _ask(
    store: FeatureStore,
    history: SourceHistory,
    key: str,
    keys: pa.ChunkedArray,
    as_of: NDArray[np.int64],
) -> pa.Table:
    """The view's features as of these instants, each distinct question asked once."""
    if getattr(store.config.offline_store, "strictly_before", False):
        as_of = as_of + 1
    asked = pl.DataFrame({"key": pl.Series(keys.to_pylist(), dtype=pl.String), "as_of": as_of})
    distinct = asked.unique(maintain_order=True).with_row_index("at")
    at = asked.join(distinct, on=["key", "as_of"], how="left", maintain_order="left")["at"]
    entities = pa.table(
        {
            key: pa.array(distinct["key"].to_list(), pa.string()),
            "event_timestamp": pa.array(distinct["as_of"].to_numpy()).cast(TIMESTAMP),
        }
    )
    projection = history.projection
    job = store.get_historical_features(
        entity_df=entities,
        features=[f"{projection.name}:{feature.name}" for feature in projection.features],
        full_feature_names=True,
    )
    return job.to_training_set().to_arrow().take(pa.array(at.to_numpy()))


def _compare(
    store: FeatureStore,
    history: SourceHistory,
    served: pa.Table,
    offline: pa.Table,
    may_be_rewritten: NDArray[np.bool_],
) -> Iterator[FeatureSkew]:
    projection = history.projection
    for field in projection.features:
        name = logical_name(f"{projection.name_to_use()}__{field.name}")
        yield compare_feature(
            name,
            served[name],
            offline[f"{projection.name}__{field.name}"],
            is_vector=field.vector_length > 0,
            may_be_rewritten=may_be_rewritten,
            rounding=_rounding(store) if field.vector_length else FLOAT32,
        )


def _rounding(store: FeatureStore) -> Rounding:
    encoding = getattr(store.config.online_store, "vector_encoding", "float32")
    return FLOAT16 if encoding == "float16" else FLOAT32


def _in_words(
    features: Sequence[FeatureSkew],
    compared: pa.Table,
    versions: Versions,
    rows: NDArray[np.int64],
) -> Iterator[str]:
    for feature in features:
        for example in feature.examples[:MAX_EXAMPLES]:
            user, item, when = (compared[name][example.row].as_py() for name in _REQUEST)
            as_of = _EPOCH + timedelta(microseconds=int(versions.as_of[rows[example.row]]))
            yield (
                f"{example.kind}: {feature.feature} of user {user}, item {item} at {when}: served "
                f"{example.served}, offline {example.offline} as of {as_of}"
            )


def _micros(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(TIMESTAMP, safe=False).cast(pa.int64())


def _require(served: pa.Table, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in served.column_names]
    if missing:
        raise schema_error(
            "served log",
            got=f"columns {served.column_names}",
            expected=f"also {missing}",
            remedy="Audit the feature service that was served.",
        )
