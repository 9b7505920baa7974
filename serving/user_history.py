"""What a user has done lately, as the online store has it: live events are in it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan

from feast_fusion.column_names import feature_column
from feast_fusion.times import from_micros
from feast_fusion.training_set import TrainingSet
from serving.answers import ColumnValue, UserKind
from serving.catalogue import Catalogue
from serving.online_features import OnlineFeatures
from transformations.names import USER_RECENT


@dataclass(frozen=True)
class PastEvent:
    """One event of the user.

    Attributes
    ----------
    title : of the item, None where the catalogue has none
    value : what the event carried, None where it carried nothing
    positive : whether the data set takes it for a liking
    event_timestamp : to the second
    columns : by name what the data set says of the item, without nulls
    """

    item_id: str
    title: str | None
    value: float | None
    positive: bool
    event_timestamp: datetime
    columns: dict[str, ColumnValue]


@dataclass(frozen=True)
class UserHistory:
    """The newest event first.

    Attributes
    ----------
    user : what is known of the user
    """

    user_id: str
    user: UserKind
    events: list[PastEvent]


def read_history(
    catalogue: Catalogue, features: OnlineFeatures, user_id: str, n: int, now: datetime
) -> UserHistory:
    """The `n` newest events of those that the online store keeps of a user (`[activity] history`).

    Raises
    ------
    StoreUnavailableError
        The online store does not answer in time.
    """
    user = features.read_user(user_id)
    newest = user.since(USER_RECENT)
    events: list[PastEvent] = []
    if newest is not None and newest > 0:
        events = _events(catalogue, features.user_row(user, now), from_micros(newest))[:n]
    return UserHistory(user_id, user.kind, events)


def _events(catalogue: Catalogue, row: TrainingSet, until: datetime) -> list[PastEvent]:
    """Of one row of recent items, of which the newest happened at `until`."""
    columns = [
        row.lists[feature_column(USER_RECENT, name)]
        for name in ("item_ids", "values", "positives", "ages_s")
    ]
    if any(int(column.index[0]) < 0 for column in columns):
        return []
    lists = [column.values[int(column.index[0])].as_py() for column in columns]
    described = catalogue.columns.values_of(catalogue.items.codes(lists[0]))
    return [
        PastEvent(
            item_id,
            catalogue.title(item_id),
            None if value is None or isnan(value) else value,
            bool(positive),
            (until - timedelta(seconds=age_s)).replace(microsecond=0),
            own,
        )
        for item_id, value, positive, age_s, own in zip(*lists, described, strict=True)
    ]
