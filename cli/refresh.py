"""`feast-fusion refresh`: bring the features up to date with the data set and the live events."""

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from cli.context import with_workspace
from cli.data import prepare_sources
from cli.feast_repository import feast, open_store
from cli.redis import redis_of
from cli.terminal import say
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore

_BEGINNING = "1900-01-01T00:00:00"


@click.command()
@click.argument("strategy", type=click.Choice(["incremental", "full", "hybrid"]))
@click.option(
    "--full-every-hours",
    default=24.0,
    show_default=True,
    help="hybrid: a full refresh when the last one is older.",
)
@with_workspace
def refresh(workspace: Workspace, /, strategy: str, full_every_hours: float) -> None:
    """Fold live events into the sources, then bring the stores up to date with them.

    \b
    incremental   feast materialize-incremental: rows since the last time. Costs in proportion to
                  what is new. An event that arrived late changes the served rows at once, but
                  not the vectors that history has of the moments after it.
    full          computes the users' vector history anew, then feast materialize from the
                  beginning. Costs in proportion to all events; texts that are in the vector
                  cache are not encoded again. Afterwards everything is as if all events had
                  come in time.
    hybrid        incremental now, full when the last one is --full-every-hours old: for a
                  schedule such as cron.
    """
    if strategy == "hybrid":
        is_due = _full_age(workspace) >= timedelta(hours=full_every_hours)
        strategy = "full" if is_due else "incremental"
        say(f"hybrid: {strategy} this time.")
    # Taken before the fold: what an event after it writes online is newer than what is below.
    started = datetime.now(UTC)
    prepare_sources(workspace)
    with redis_of(workspace) as redis:
        if strategy == "full":
            _refresh_fully(workspace, redis, started)
        else:
            feast(workspace, redis, "materialize-incremental", _now())


def _refresh_fully(workspace: Workspace, redis: str, started: datetime) -> None:
    from feast_fusion.history.derivation import is_derived
    from feast_fusion.redis_matrix import online_store_of

    store = open_store(workspace, redis)
    for view in store.list_batch_feature_views():
        if is_derived(view) and view.join_keys == ["user_id"]:
            _rebuild(store, view)
    feast(workspace, redis, "materialize", _BEGINNING, _now())
    n_rows = rewrite_online(store, started)
    online_store_of(store).disconnect()
    say(f"{n_rows:,} rows online are those of the sources and sinks.")
    stamp = workspace.root / "refreshed.json"
    stamp.write_text(json.dumps({"full": started.isoformat()}) + "\n")


def _rebuild(store: "FeatureStore", view: Any) -> None:
    from feast_fusion.history.rebuild import rebuild_sink

    options = store.config.batch_engine
    offline_store = store._get_provider().offline_store
    with tqdm(desc=f"{view.name} anew", leave=False, ncols=80, unit=" rows") as bar:
        n_rows = rebuild_sink(view, store.config, offline_store, options.batch_rows, bar.update)
    say(f"{view.name}: {n_rows:,} rows computed anew.")


def rewrite_online(store: "FeatureStore", created: datetime) -> int:
    """Put the newest offline row of every entity online, also where its event time is the same.

    Materializing leaves such rows: they are corrections, and a row is replaced only by a newer
    one. So these are written with a created timestamp; rows that live events wrote later stay.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    from serving.online_views import OnlineViews

    online, n_rows = OnlineViews(store), 0
    views = [*store.list_feature_views(), *store.list_batch_feature_views()]
    for view in {view.name: view for view in views if view.online}.values():
        (key,) = view.join_keys
        rows = ds.dataset(view.batch_source.path, format="parquet")
        keys = pl.DataFrame(rows.to_table(columns=[key, "event_timestamp"])).with_row_index("at")
        newest = keys.sort("event_timestamp", maintain_order=True).unique(key, keep="last")
        names = [name for name in rows.schema.names if name != "created"]
        table = rows.take(newest["at"].sort().to_numpy(), columns=names)
        stamp = pa.scalar(created, pa.timestamp("us", tz="UTC"))
        online.write(view.name, table.append_column("created", pa.repeat(stamp, len(table))))
        n_rows += len(table)
    return n_rows


def _full_age(workspace: Workspace) -> timedelta:
    stamp = workspace.root / "refreshed.json"
    if not stamp.is_file():
        return timedelta.max
    return datetime.now(UTC) - datetime.fromisoformat(json.loads(stamp.read_text())["full"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
