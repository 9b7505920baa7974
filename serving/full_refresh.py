"""What a full refresh does beside `feast materialize`: history anew, corrected rows online."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from feast import FeatureStore

from feast_fusion.errors import SchemaError
from feast_fusion.files import replaced_file
from feast_fusion.history.derivation import is_derived
from feast_fusion.history.rebuild import rebuild_sink
from feast_fusion.parquet.newest import newest
from feast_fusion.parquet.opening import open_path
from feast_fusion.sealed_json import read_json, write_json
from feast_fusion.times import TIMESTAMP
from intake.workspace import Workspace
from serving.online_views import OnlineViews

_ROWS = 1 << 16


def derived_views(store: FeatureStore) -> list[Any]:
    """The views whose history a transformation computes."""
    return [view for view in store.list_batch_feature_views() if is_derived(view)]


def rebuild_history(store: FeatureStore, view: Any, advance: Callable[[int], object]) -> int:
    """Compute the history of a view anew; how many rows.

    Parameters
    ----------
    advance : called with the number of rows of each part that is done
    """
    provider = store._get_provider()
    engine = provider.batch_engine
    return rebuild_sink(
        view,
        store.config,
        provider.offline_store,
        engine.options.batch_rows,
        engine.runner,
        advance,
    )


def rewrite_online(store: FeatureStore, created: datetime) -> int:
    """Put the newest offline row of every entity online, also a correction; how many rows.

    A correction has the event time of the row that it corrects, so `feast materialize` leaves it
    out. Rows are written as created at `created`: a row that a live event wrote later stays.
    """
    online, n_rows = OnlineViews(store), 0
    views = [*store.list_feature_views(), *store.list_batch_feature_views()]
    for view in {view.name: view for view in views if view.online}.values():
        rows = _newest_rows(view)
        stamps = pa.repeat(pa.scalar(created, TIMESTAMP), len(rows))
        online.write(view.name, rows.append_column("created", stamps))
        n_rows += len(rows)
    return n_rows


def is_full_refresh_due(workspace: Workspace, max_age: timedelta) -> bool:
    """Whether no full refresh that is known of began within `max_age`."""
    try:
        began = datetime.fromisoformat(read_json(_stamp(workspace))["full"])
    except SchemaError:
        return True
    return datetime.now(UTC) - began >= max_age


def note_full_refresh(workspace: Workspace, began: datetime) -> None:
    """Keep when the last full refresh began."""
    with replaced_file(_stamp(workspace)) as path:
        write_json(path, {"full": began.isoformat()})


def _newest_rows(view: Any) -> pa.Table:
    """The newest row of each entity in the view's source, without a created timestamp."""
    rows = open_path(view.batch_source.path, view.batch_source.path)
    keys = pl.DataFrame(rows.keys(view.join_keys, "event_timestamp", None))
    positions = newest(keys, view.join_keys, ["event_timestamp"])
    names = [name for name in rows.columns if name != "created"]
    return pa.concat_tables([rows.no_rows(names), *rows.gather(names, positions, _ROWS)])


def _stamp(workspace: Workspace) -> Path:
    return workspace.root / "refreshed.json"
