"""The Arrow schemas of the tables that flow between stages, and the check at their door.

Times are `timestamp[us, UTC]`. A feature row caused by an event at `t` is stamped `t + 1 us`
(`CAUSED_AFTER_US`), so a label at `t` never sees its own event. Columns named `*_s` are seconds;
`first_event_s` and `last_event_s` are seconds since the epoch.
"""

import pyarrow as pa

from transformations.dataset import Dataset
from transformations.errors import schema_error

TIMESTAMP = pa.timestamp("us", tz="UTC")
VECTOR = pa.list_(pa.float32())
CAUSED_AFTER_US = 1

STRINGS = pa.list_(pa.string())

ITEM_STATS = pa.schema(
    [
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("n_events", pa.int64()),
        ("n_positive", pa.int64()),
        ("positive_rate", pa.float64()),
        ("value_mean", pa.float64()),  # null where no event had a value
        ("n_events_short", pa.int64()),  # within [activity] window_days[0] before the change
        ("n_events_long", pa.int64()),  # within window_days[1]
        ("first_event_s", pa.int64()),
        ("last_event_s", pa.int64()),
    ]
)

USER_STATS = pa.schema(
    [
        ("user_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("n_events", pa.int64()),
        ("n_positive", pa.int64()),
        ("positive_rate", pa.float64()),
        ("value_mean", pa.float64()),
        ("value_std", pa.float64()),  # population standard deviation; null where no value
        ("n_events_short", pa.int64()),
        ("n_events_long", pa.int64()),
        ("first_event_s", pa.int64()),
        ("last_event_s", pa.int64()),
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


def item_profile_schema(dataset: Dataset, source: pa.Schema) -> pa.Schema:
    """Schema of prepared items: keys, times, then title, text, numeric and categorical columns."""
    items = dataset.items
    columns = dict.fromkeys((items.title, *items.text_columns, *items.numeric, *items.categorical))
    return _profile_schema("item_id", columns, items.numeric, source)


def user_profile_schema(dataset: Dataset, source: pa.Schema) -> pa.Schema:
    """Schema of prepared users: keys, times, then numeric and categorical columns."""
    if dataset.users is None:
        raise ValueError("the data set has no [users]")
    columns = dict.fromkeys((*dataset.users.numeric, *dataset.users.categorical))
    return _profile_schema("user_id", columns, dataset.users.numeric, source)


def _profile_schema(
    key: str, columns: dict[str, None], numeric: tuple[str, ...], source: pa.Schema
) -> pa.Schema:
    fields = [(key, pa.string()), ("event_timestamp", TIMESTAMP)]
    if "created" in source.names:
        fields.append(("created", TIMESTAMP))
    # a text template may name the key or a time, which are there already
    features = [name for name in columns if name not in dict(fields)]
    return pa.schema(
        fields
        + [(name, _column_type(source.field(name).type, name in numeric)) for name in features]
    )


def _column_type(found: pa.DataType, is_numeric: bool) -> pa.DataType:
    """The one type a profile column is stored in: int64, float64, string or a list of strings."""
    if pa.types.is_integer(found):
        return pa.int64()
    if is_numeric or pa.types.is_floating(found):
        return pa.float64()
    if pa.types.is_list(found) or pa.types.is_large_list(found):
        return STRINGS
    return pa.string()


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """`table` with exactly the columns and types of `schema`, in its order.

    Raises
    ------
    SchemaError
        A column is missing or cannot be cast; `name` names the table in the message.
    """
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise schema_error(
            name,
            got=f"columns {table.column_names}",
            expected=f"also {missing}",
            remedy="Add the missing columns.",
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            name, got=table.select(schema.names).schema, expected=schema, remedy=str(error)
        ) from error
