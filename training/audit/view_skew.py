"""One view of the served rows against the offline store, as of the instants it was served for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from feast import FeatureStore
from numpy.typing import NDArray

from feast_fusion.column_names import feature_column, logical_name, split_view
from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP, from_micros, to_micros
from training.audit.feature_skew import (
    FLOAT16,
    FLOAT32,
    INT8,
    MAX_EXAMPLES,
    FeatureSkew,
    Rounding,
    compare_feature,
)
from training.audit.skew_report import ViewSkew
from training.audit.source_history import SourceHistory
from training.audit.version_matching import Versions, match_versions
from transformations.names import LIVE_VIEWS
from transformations.served_files import REQUEST, stamp_column


def audit_view(
    history: SourceHistory,
    served: pa.Table,
    store: FeatureStore,
    events: Mapping[str, pl.DataFrame],
    folded_at: datetime | None,
) -> ViewSkew:
    """The served rows of one view; see `audit_served`.

    Parameters
    ----------
    events : by join key, the live events as `match_versions` takes them

    Raises
    ------
    SchemaError
        The view is not of one user or item key.
    """
    key = _key_of(history)
    view = history.projection.name_to_use()
    requested = _micros(served["event_timestamp"]).to_numpy()
    versions = match_versions(
        served[key].to_pylist(),
        requested,
        _micros(served[stamp_column(view)]).to_pylist(),
        _source_rows(history, key, served[key]),
        events[key],
        None if _is_live(history) else _materialized(history, requested),
    )
    if folded_at is not None:
        since = versions.as_of > to_micros(folded_at)
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


def _is_live(history: SourceHistory) -> bool:
    """Whether live events change the view's online rows at once."""
    return split_view(history.view.name)[0] in LIVE_VIEWS


def _materialized(history: SourceHistory, requested: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) microseconds: the end of the last materialization before each request, 0 for none."""
    ends = sorted(to_micros(end) for _, end in history.view.materialization_intervals)
    before = np.array([0, *ends], np.int64)
    found: NDArray[np.int64] = before[np.searchsorted(before, requested, side="right") - 1]
    return found


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
        name = logical_name(feature_column(projection.name_to_use(), field.name))
        yield compare_feature(
            name,
            served[name],
            offline[feature_column(projection.name, field.name)],
            is_vector=field.vector_length > 0,
            may_be_rewritten=may_be_rewritten,
            rounding=_rounding(store) if field.vector_length else FLOAT32,
        )


def _rounding(store: FeatureStore) -> Rounding:
    encoding = getattr(store.config.online_store, "vector_encoding", "float32")
    return {"float16": FLOAT16, "int8": INT8}.get(encoding, FLOAT32)


def _in_words(
    features: Sequence[FeatureSkew],
    compared: pa.Table,
    versions: Versions,
    rows: NDArray[np.int64],
) -> Iterator[str]:
    for feature in features:
        for example in feature.examples[:MAX_EXAMPLES]:
            user, item, when = (compared[name][example.row].as_py() for name in REQUEST)
            as_of = from_micros(int(versions.as_of[rows[example.row]]))
            yield (
                f"{example.kind}: {feature.feature} of user {user}, item {item} at {when}: served "
                f"{example.served}, offline {example.offline} as of {as_of}"
            )


def _micros(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return times.cast(TIMESTAMP, safe=False).cast(pa.int64())
