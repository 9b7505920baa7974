"""What the online features tell of a user: how well known the user is, and recent items."""

from feast_fusion.column_names import feature_column, logical_name
from feast_fusion.redis_matrix import Ragged
from serving.answers import UserKind
from serving.online_features import UserFeatures
from transformations import names

_HISTORY_VIEWS = (names.USER_RECENT, names.USER_STATS, names.USER_INTEREST, names.USER_EMBEDDING)
_RECENT_ITEMS = feature_column(names.USER_RECENT, "item_ids")


def recent_items(user: UserFeatures) -> set[str]:
    """The items of `user_recent`, which has live events before any preparation folds them in."""
    for rows in user.views:
        for name, column in rows.columns.items():
            is_recent = logical_name(name) == _RECENT_ITEMS
            if is_recent and isinstance(column, Ragged) and rows.valid[name][0]:
                return set(column.values[column.offsets[0] : column.offsets[1]].tolist())
    return set()


def kind_of(user: UserFeatures) -> UserKind:
    """By which views have a row of the user."""
    if any(user.has(view) for view in _HISTORY_VIEWS):
        return "known"
    return "profile_only" if user.has(names.USER_PROFILE) else "unknown"
