"""The Arrow schemas of the tables that flow between stages.

Times are `timestamp[us, UTC]`. A feature row caused by an event at `t` is stamped `t + 1 us`
(`CAUSED_AFTER_US`), so a label at `t` never sees its own event. Columns named `*_s` are seconds;
`*_event_s` are seconds since the epoch. No feature of two views has the same name, so that a
retrieval needs no `full_feature_names`.
"""

import pyarrow as pa

from feast_fusion.times import TIMESTAMP

VECTOR = pa.list_(pa.float32())
CAUSED_AFTER_US = 1

STRINGS = pa.list_(pa.string())

ITEM_STATS = pa.schema(
    [
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("item_n_events", pa.int64()),
        ("item_n_positive", pa.int64()),
        ("item_positive_rate", pa.float64()),
        ("item_value_mean", pa.float64()),  # null where no event had a value
        ("item_n_events_short", pa.int64()),  # within [activity] window_days[0] before the change
        ("item_n_events_long", pa.int64()),  # within window_days[1]
        ("item_first_event_s", pa.int64()),
        ("item_last_event_s", pa.int64()),
    ]
)

USER_STATS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("user_n_events", pa.int64()),
        ("user_n_positive", pa.int64()),
        ("user_positive_rate", pa.float64()),
        ("user_value_mean", pa.float64()),
        ("user_value_std", pa.float64()),  # population standard deviation; null where no value
        ("user_n_events_short", pa.int64()),
        ("user_n_events_long", pa.int64()),
        ("user_first_event_s", pa.int64()),
        ("user_last_event_s", pa.int64()),
        # the user's most frequent categories, most events first (ties by name), aligned lists
        ("categories", STRINGS),
        ("category_events", pa.list_(pa.int64())),
        ("category_positives", pa.list_(pa.int64())),
    ]
)

USER_RECENT = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        # the last [activity] history events, most recent first, aligned lists
        ("item_ids", STRINGS),
        ("values", pa.list_(pa.float32())),  # NaN where the event has no value
        ("positives", pa.list_(pa.int64())),  # 1 or 0
        ("ages_s", pa.list_(pa.int64())),  # before this row's newest event
    ]
)

# One row per item and version of what other people chose (`transformations.collaborative`).
ITEM_NEIGHBOURS = pa.schema(
    [
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        # aligned lists: items that an event with this item speaks for, and how loudly
        ("together_ids", STRINGS),  # chosen by the same users
        ("together_weights", pa.list_(pa.float32())),
        ("following_ids", STRINGS),  # chosen next
        ("following_weights", pa.list_(pa.float32())),
        # log of 1 + positive events: of all, of the newest 20,000 and of the newest 2,000 events
        ("popular", pa.float32()),
        ("popular_long", pa.float32()),
        ("popular_short", pa.float32()),
        ("liked_rate", pa.float32()),
    ]
)

# One row per item and version of the factors (`transformations.collaborative.item_factors`).
ITEM_FACTORS = pa.schema(
    [
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        # what the item is answered on average, null without an answer of the kind
        ("value_mean", pa.float32()),
        ("value_factors", VECTOR),
        ("positive_mean", pa.float32()),
        ("positive_factors", VECTOR),
    ]
)

# One row per user and instant, all events of that instant; the source of user_interest.
USER_EVENTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("item_ids", STRINGS),  # the events of that instant, in replay order
        ("positives", pa.list_(pa.int64())),
        ("types", STRINGS),  # null where the event has no event_type
    ]
)

# One row after each n-th event of a user; the source of user_embedding.
USER_SNAPSHOTS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("liked", STRINGS),  # titles as known then, most recent first
        ("disliked", STRINGS),
    ]
)
