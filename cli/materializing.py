"""`feast materialize` as commands use it: from the beginning at first, then what is new."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.feast_repository import feast, feast_time, open_store
from intake.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureView

BEGINNING = "1900-01-01T00:00:00"


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
    stored = [view for view in chosen if view.online]
    new = [view.name for view in stored if view.most_recent_end_time is None]
    known = [view.name for view in stored if view.name not in new]
    if new:
        feast(workspace, redis, "materialize", BEGINNING, feast_time(), *_only(new))
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


def _only(views: Sequence[str]) -> list[str]:
    return [word for name in views for word in ("--views", name)]
