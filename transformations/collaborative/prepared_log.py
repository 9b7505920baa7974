"""The events of prepared sources, as the item models and their fits read them."""

import polars as pl
import pyarrow as pa

from feast_fusion.parquet.whole import read_parquet
from intake.workspace import Workspace
from transformations import names
from transformations.collaborative.histories import Events
from transformations.id_map import IdMap
from transformations.names import EVENT_ORDER


def build_events(items: pa.Table, interactions: pa.Table) -> Events:
    """The events of prepared tables; users and items have codes in the order of their ids.

    Parameters
    ----------
    items : item_id and event_timestamp of each version of an item
    interactions : user_id, item_id, event_timestamp, positive, and value and weight where there
        are some; the weight is 1 without
    """
    columns = ["user_id", "item_id", "event_timestamp", "positive", "value", "weight"]
    present = [name for name in columns if name in interactions.column_names]
    log = pl.DataFrame(interactions.select(present)).sort(*EVENT_ORDER, maintain_order=True)
    first = (
        pl.DataFrame(items.select(["item_id", "event_timestamp"]))
        .group_by("item_id")
        .agg(pl.col("event_timestamp").min())
        .sort("item_id")
    )
    item_ids, user_ids = IdMap(first["item_id"].to_arrow()), IdMap.of(log["user_id"].to_arrow())
    numbers = {
        name: log[name] if name in log.columns else pl.repeat(None, len(log), eager=True)
        for name in ("value", "weight")
    }
    return Events(
        users=user_ids,
        items=item_ids,
        user=user_ids.codes(log["user_id"].to_arrow()),
        item=item_ids.codes(log["item_id"].to_arrow()),
        time=log["event_timestamp"].to_physical().to_numpy(),
        positive=log["positive"].to_numpy(),
        value=numbers["value"].cast(pl.Float32).fill_null(float("nan")).to_numpy(),
        weight=numbers["weight"].cast(pl.Float32).fill_null(1.0).to_numpy(),
        known_from=first["event_timestamp"].to_physical().to_numpy(),
    )


def read_prepared_events(workspace: Workspace) -> Events:
    """The events of a workspace as last prepared."""
    items, interactions = (
        read_parquet(workspace.source(name)) for name in (names.ITEMS, names.INTERACTIONS)
    )
    return build_events(items, interactions)
