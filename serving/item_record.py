"""What is known of one item now: its columns, its statistics, whether it may be recommended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from feast_fusion.column_names import split_column
from feast_fusion.errors import FeatureNotFoundError
from feast_fusion.training_set import TrainingSet
from serving.catalogue import Catalogue
from serving.online_features import OnlineFeatures
from transformations.names import ITEM_ATTRIBUTES, ITEM_EMBEDDING, ITEM_PROFILE, ITEM_STATS


@dataclass(frozen=True)
class ItemRecord:
    """One item as the online store has it.

    Attributes
    ----------
    item : item_id and the newest value of each column
    attributes : by name what a language model wrote of it
    statistics : by name the counts, rates and ages that follow from its events
    title : None where it has none
    is_available : whether it may be recommended now
    is_encoded : whether it has a vector
    """

    item: dict[str, Any]
    attributes: dict[str, Any]
    statistics: dict[str, Any]
    title: str | None
    is_available: bool
    is_encoded: bool


def read_item(
    catalogue: Catalogue, features: OnlineFeatures, item_id: str, now: datetime
) -> ItemRecord:
    """The record of an item.

    Raises
    ------
    FeatureNotFoundError
        Neither the catalogue nor the online store has it.
    StoreUnavailableError
        The online store does not answer in time.
    """
    views = features.decode_items(features.read_items([item_id]), now)
    row = catalogue.items.code(item_id)
    if row is None and not any(rows.present[0] for rows in views):
        raise FeatureNotFoundError(
            f"item {item_id[:80]!r}: got no such item, expected one of the catalogue. POST it to "
            "/items, or add it to the items of the data set."
        )
    rows = features.item_rows([item_id], views, now)
    available = catalogue.passing(None, now)
    return ItemRecord(
        {"item_id": item_id, **_features(rows, ITEM_PROFILE)},
        _features(rows, ITEM_ATTRIBUTES),
        _features(rows, ITEM_STATS),
        catalogue.title(item_id),
        row is not None and (available is None or bool(available[row])),
        ITEM_EMBEDDING in rows.vectors and int(rows.vectors[ITEM_EMBEDDING].index[0]) >= 0,
    )


def _features(rows: TrainingSet, view: str) -> dict[str, Any]:
    """By name the features of a view in the first row; vectors are left out."""
    found: dict[str, Any] = {}
    for column in rows.table.column_names:
        of_view, name = split_column(column)
        if of_view == view:
            found[name] = rows.table[column][0].as_py()
    for column, lists in rows.lists.items():
        of_view, name = split_column(column)
        if of_view == view:
            at = int(lists.index[0])
            found[name] = lists.values[at].as_py() if at >= 0 else None
    return found
