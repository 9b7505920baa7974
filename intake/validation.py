"""The three files of a data set, checked: rows that cannot be used leave with their reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import schema_error
from feast_fusion.times import TIMESTAMP
from intake.dataset import Dataset
from intake.positive import evaluate_positive
from intake.profile_schema import item_profile_schema, user_profile_schema
from intake.screening import Screening

_EVENT_COLUMNS = ("user_id", "item_id", "event_timestamp")


@dataclass(frozen=True)
class ValidationReport:
    """Counts of one validation; files are "items", "users" and "interactions".

    The event journal, where it has events, counts as a file named "events".

    Attributes
    ----------
    read : rows in each file
    rejects : per file, rows that left per reason
    users_without_profile : users with events who are not in the users table, which is no defect
    valid_until : when the earliest row that lay in the future no longer will; None without one
    """

    read: dict[str, int]
    rejects: dict[str, dict[str, int]]
    users_without_profile: int
    valid_until: datetime | None


@dataclass(frozen=True)
class ValidatedData:
    """The usable rows, in file order, and what was found.

    Attributes
    ----------
    items : conforms to `item_profile_schema`
    users : conforms to `user_profile_schema`; None where the data set has no users table
    interactions : user_id, item_id, event_timestamp, positive (bool), value (float64, null where
        the event has none), and event_type and event_id (strings) where the file has them
    """

    items: pa.Table
    users: pa.Table | None
    interactions: pa.Table
    report: ValidationReport


def validate_dataset(
    dataset: Dataset,
    rejects: Path,
    *,
    journal: pa.Table | None = None,
    now: datetime | None = None,
) -> ValidatedData:
    """The usable rows of the data set's files; the others go to Parquet files in `rejects`.

    The events of `journal` (`intake.event.EVENTS`) follow the interactions of the
    file and are screened as they are. To `positive` they have null in the other columns of the
    file; one whose event_id a usable row of the file has is a duplicate.

    A row is rejected for the first of these: a null or empty key; a timestamp that is null, has
    no zone, cannot be parsed or lies after `now`; an unknown item_id; an infinite value; for
    explicit data, a null or NaN value (or other null) that leaves `positive` undecided; being a
    duplicate. The first of duplicates stays: items and users are the same by key,
    event_timestamp and created, interactions by event_id or, without one, by every column.

    Raises
    ------
    SchemaError
        A file is missing or unreadable, lacks a column, has a column of a type that cannot be
        used, or has no usable row; or `positive` is not a condition on single rows.
    """
    now = now or datetime.now(UTC)
    items, users = _screen_items(dataset, now), _screen_users(dataset, now)
    events = _screen_file(dataset, items, now)
    live = _screen_journal(dataset, journal, events, items, now)
    files = [each for each in (items, users, events, live) if each is not None]
    for name in ("users", "events"):
        (rejects / f"{name}.parquet").unlink(missing_ok=True)
    for each in files:
        each.write_rejects(rejects)
    item_table = items.usable(item_profile_schema(dataset, items.table.schema))
    user_table = users and users.usable(user_profile_schema(dataset, users.table.schema))
    interactions = _usable_events(events, live)
    report = ValidationReport(
        read={each.name: len(each.table) for each in files},
        rejects={each.name: each.counts for each in files},
        users_without_profile=_count_without_profile(interactions, user_table),
        valid_until=min(
            (each.earliest_future for each in files if each.earliest_future), default=None
        ),
    )
    return ValidatedData(item_table, user_table, interactions, report)


def _screen_items(dataset: Dataset, now: datetime) -> Screening:
    spec = dataset.items
    features = (spec.title, *spec.text_columns, *spec.numeric, *spec.categorical)
    return _screen_entity(spec.path, "items", "item_id", features, now)


def _screen_users(dataset: Dataset, now: datetime) -> Screening | None:
    spec = dataset.users
    if spec is None:
        return None
    return _screen_entity(spec.path, "users", "user_id", (*spec.numeric, *spec.categorical), now)


def _screen_entity(
    path: Path, name: str, key: str, features: Sequence[str], now: datetime
) -> Screening:
    found = Screening(path, name, list(dict.fromkeys((key, "event_timestamp", *features))))
    found.add_key(key)
    found.add_time("event_timestamp", now)
    if "created" in found.table.column_names:
        found.add_time("created", now)
    _reject_duplicates(
        found, pl.DataFrame({name: pl.Series(c) for name, c in found.columns.items()})
    )
    return found


def _screen_file(dataset: Dataset, items: Screening, now: datetime) -> Screening:
    found = Screening(dataset.interactions.path, "interactions", _EVENT_COLUMNS)
    _screen_events(found, dataset, items, now)
    return found


def _screen_journal(
    dataset: Dataset,
    journal: pa.Table | None,
    file: Screening,
    items: Screening,
    now: datetime,
) -> Screening | None:
    if not journal:
        return None
    table = journal.drop_columns(["received"])
    for field in file.table.schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    found = Screening(Path("the event journal"), "events", _EVENT_COLUMNS, table)
    _screen_events(found, dataset, items, now)
    if "event_id" in file.columns:
        folded = file.columns["event_id"].filter(pa.array(file.is_usable))
        is_folded = pc.is_in(found.columns["event_id"], value_set=folded.drop_null())
        found.reject(np.asarray(is_folded), "duplicate")
    return found


def _screen_events(found: Screening, dataset: Dataset, items: Screening, now: datetime) -> None:
    found.add_key("user_id")
    found.add_key("item_id")
    found.add_time("event_timestamp", now)
    known = items.columns["item_id"].filter(pa.array(items.is_usable))
    is_known = pc.is_in(found.columns["item_id"], value_set=pc.unique(known))
    found.reject(~np.asarray(is_known), "unknown item_id")
    for name in ("event_type", "event_id"):
        if name in found.table.column_names:
            found.columns[name] = found.as_strings(name)
    _add_value(found)
    _add_positive(found, dataset)
    _reject_repeated_events(found)


def _add_value(found: Screening) -> None:
    """The value as float64, null where the file has null or NaN or no such column."""
    if "value" not in found.table.column_names:
        found.columns["value"] = pa.nulls(len(found.table), pa.float64())
        return
    column = found.table["value"]
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise schema_error(
            f"{found.path}: column 'value'",
            got=column.type,
            expected="numbers",
            remedy="Convert it, or rename it if it is not what an event is worth.",
        )
    value = pl.Series("value", column.cast(pa.float64())).fill_nan(None)
    found.reject(value.is_infinite().fill_null(False).to_numpy(), "infinite value")
    found.columns["value"] = value.to_arrow()


def _add_positive(found: Screening, dataset: Dataset) -> None:
    expression = dataset.interactions.positive
    if not dataset.interactions.explicit or expression is None:
        found.columns["positive"] = pa.array(np.ones(len(found.table), dtype=bool))
        return
    columns = dict(zip(found.table.column_names, found.table.columns, strict=True))
    columns |= {name: pa.chunked_array([column]) for name, column in found.columns.items()}
    positive = evaluate_positive(expression, columns, found.path)
    is_undecided = positive.is_null().to_numpy()
    has_value = np.asarray(found.columns["value"].is_valid())
    found.reject(is_undecided & ~has_value, "null value")
    found.reject(is_undecided, "undecided positive")
    found.columns["positive"] = positive.fill_null(False).to_arrow()


def _reject_repeated_events(found: Screening) -> None:
    identity = {name: pl.Series(c) for name, c in found.columns.items() if name != "positive"}
    others = [name for name in found.table.column_names if name not in identity]
    frame = pl.DataFrame({**identity, **{name: pl.Series(found.table[name]) for name in others}})
    if "event_id" in frame.columns:
        has_id = pl.col("event_id").is_not_null()
        frame = frame.select(
            "event_id",
            *(pl.when(~has_id).then(c).alias(c) for c in frame.columns if c != "event_id"),
        )
    _reject_duplicates(found, frame)


def _reject_duplicates(found: Screening, identity: pl.DataFrame) -> None:
    """Of usable rows with equal `identity` (n rows), all but the first are duplicates."""
    usable = identity.with_row_index("").filter(pl.Series(found.is_usable))
    first = usable.unique(identity.columns, keep="first")[""].to_numpy()
    is_first = np.zeros(len(identity), dtype=bool)
    is_first[first] = True
    found.reject(~is_first, "duplicate")


def _usable_events(events: Screening, live: Screening | None) -> pa.Table:
    table = events.usable(_interaction_schema(events))
    if live is None or not live.is_usable.any():
        return table
    schema = _interaction_schema(live)
    for field in schema:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return pa.concat_tables([table.select(schema.names), live.usable(schema)])


def _interaction_schema(events: Screening) -> pa.Schema:
    fields = [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("event_timestamp", TIMESTAMP),
        ("positive", pa.bool_()),
        ("value", pa.float64()),
    ]
    optional = [name for name in ("event_type", "event_id") if name in events.columns]
    return pa.schema([*fields, *((name, pa.string()) for name in optional)])


def _count_without_profile(interactions: pa.Table, users: pa.Table | None) -> int:
    if users is None:
        return 0
    active = pc.unique(interactions["user_id"])
    return int(np.sum(~np.asarray(pc.is_in(active, value_set=users["user_id"]))))
