"""`feast materialize` as commands use it: all rows, or new ones, or histories computed anew."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.feast_repository import feast, feast_time, open_store
from cli.terminal import counter, say
from intake.described_histories import former_histories, note_histories
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureView

_BEGINNING = "1900-01-01T00:00:00"


def materialize(workspace: Workspace, redis: str, *window: str) -> None:
    """`feast materialize` of a window.

    Where a history follows another dataset.toml than that of now, it is computed anew, and the
    window is all time.
    """
    began = datetime.now(UTC)
    former = _note_current(workspace, open_store(workspace).list_batch_feature_views())
    if former:
        say("The history of vectors follows another dataset.toml or version, and is computed anew.")
        materialize_anew(workspace, redis, former, began)
    else:
        feast(workspace, redis, "materialize", *window)


def materialize_anew(
    workspace: Workspace, redis: str, views: Sequence[Any], began: datetime
) -> None:
    """Compute the history of views anew, then put the newest rows of all views online.

    Parameters
    ----------
    began : before the sources were read; a row that a live event wrote online later stays
    """
    from feast_fusion.redis_matrix import online_store_of
    from serving.full_refresh import rebuild_history, rewrite_online

    store = open_store(workspace, redis)
    for view in views:
        with counter(f"{view.name} anew", "rows") as count:
            n_rows = rebuild_history(store, view, count)
        say(f"{view.name}: {n_rows:,} rows computed anew.")
    feast(workspace, redis, "materialize", _BEGINNING, feast_time())
    n_rows = rewrite_online(store, began)
    online_store_of(store).disconnect()
    remove_withdrawn(workspace, redis)
    note_histories(workspace, [view.name for view in views])
    say(f"{n_rows:,} rows online are now as in the sources and sinks.")


def materialize_new_rows(
    workspace: Workspace, redis: str, views: "Sequence[FeatureView] | None" = None
) -> None:
    """Bring views up to date, with all that is new to each.

    `feast materialize-incremental` alone would begin a year ago where a view never was.

    Parameters
    ----------
    views : None for all
    """
    chosen = open_store(workspace).list_feature_views() if views is None else views
    _note_current(workspace, chosen)
    stored = [view for view in chosen if view.online]
    new = [view.name for view in stored if view.most_recent_end_time is None]
    known = [view.name for view in stored if view.name not in new]
    if new:
        feast(workspace, redis, "materialize", _BEGINNING, feast_time(), *_only(new))
    if known:
        feast(workspace, redis, "materialize-incremental", feast_time(), *_only(known))
    remove_withdrawn(workspace, redis)


def remove_withdrawn(workspace: Workspace, redis: str) -> None:
    """Take items that are withdrawn out of Redis, where materializing has put them again."""
    withdrawn = workspace.read_withdrawn()
    if not withdrawn:
        return
    from feast_fusion.parquet.whole import read_parquet
    from feast_fusion.redis_matrix import online_store_of
    from intake.event_bounds import LATEST_US
    from intake.posted.posted_versions import withdrawn_items
    from serving.online_views import OnlineViews
    from transformations import names

    items = read_parquet(workspace.source(names.ITEMS), ["item_id", "event_timestamp"])
    store = open_store(workspace, redis)
    gone = withdrawn_items(items, withdrawn, LATEST_US)
    OnlineViews(store).remove(names.ITEM_PROFILE, sorted(gone))
    online_store_of(store).disconnect()


def _note_current(workspace: Workspace, views: "Sequence[FeatureView]") -> "list[FeatureView]":
    """Note which histories follow this description; the views whose history follows another."""
    from feast_fusion.history.derivation import is_derived

    histories = {view.name: view for view in views if is_derived(view)}
    former = former_histories(workspace, histories)
    note_histories(workspace, histories.keys() - former)
    return [histories[name] for name in former]


def _only(views: Sequence[str]) -> list[str]:
    return [word for name in views for word in ("--views", name)]
