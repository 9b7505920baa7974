"""The three files of a data set, checked: rows that cannot be used leave with their reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from intake.availability_columns import screen_availability
from intake.column_roles import role_of
from intake.dataset import Dataset
from intake.interactions import screen_file, screen_journal, usable_events
from intake.outliers import screen_number
from intake.posted.posted_row import PostedRow, Table
from intake.posted.posted_versions import FoldedTable, Withdrawn, fold_rows
from intake.profile_schema import item_profile_schema, user_profile_schema
from intake.repeated_versions import combine_rows, reject_repeated
from intake.screening import Screening
from intake.tables.reading import read_table
from intake.tombstones import Tombstones
from intake.unused import notes_on_unused
from intake.valid_from import (
    add_time_of_rule,
    check_first_versions,
    move_first_versions,
    require_rule,
)
from intake.versioned_tables import Items, Users


@dataclass(frozen=True)
class ValidationReport:
    """Counts of one validation; files are "items", "users" and "interactions".

    The event journal, where it has events, counts as a file named "events".

    Attributes
    ----------
    read : rows in each file, and lines that are no rows
    rejects : per file, rows that left per reason
    examples : per file and reason, a value that was met, for people
    notes : what was found that rejects no row, and what is there and not used, a sentence each
    users_without_profile : users with events who are not in the users table, which is no defect
    valid_until : when the earliest row that lay in the future no longer will; None without one
    """

    read: dict[str, int]
    rejects: dict[str, dict[str, int]]
    examples: dict[str, dict[str, str]]
    notes: list[str]
    users_without_profile: int
    valid_until: datetime | None


@dataclass(frozen=True)
class ValidatedData:
    """The usable rows, in file order, and what was found.

    Attributes
    ----------
    items : conforms to `item_profile_schema`
    users : conforms to `user_profile_schema`; None where the data set has no users table
    withdrawn : when items were withdrawn, microseconds since the epoch
    interactions : user_id, item_id, event_timestamp, positive (bool), value (float64, null where
        the event has none), and event_type and event_id (strings) where the file has them
    """

    items: pa.Table
    users: pa.Table | None
    interactions: pa.Table
    report: ValidationReport
    withdrawn: Withdrawn = field(default_factory=dict)


def validate_dataset(
    dataset: Dataset,
    rejects: Path,
    *,
    journal: pa.Table | None = None,
    posted: Sequence[PostedRow] = (),
    forgotten: Tombstones | None = None,
    now: datetime | None = None,
) -> ValidatedData:
    """The usable rows of the data set's files; the others go to Parquet files in `rejects`.

    Rows of users who were `forgotten` go nowhere, and are counted.

    The events of `journal` (`intake.event.EVENTS`) follow the interactions of the
    file and are screened as they are. To `positive` they have null in the other columns of the
    file; one whose event_id a usable row of the file has is a duplicate. Rows that were `posted`
    are further versions of items and users, each from its own time on.

    A row is rejected for the first of these: a null or empty key; a timestamp that is null, has
    no zone, cannot be parsed, lies after `now` or outside the years 1700 to 2199; an unknown
    item_id; a value that is infinite or outside `value_range`; for explicit data, a null or NaN
    value (or other null) that leaves `positive` undecided; being a duplicate of a row
    before it, of interactions by event_id or, without one, by every column; of items and users, one
    that differs from a row of the same key and times.

    Raises
    ------
    SchemaError
        A file is missing or unreadable, lacks a column, has a column of a type that cannot be
        used or times in another unit than they say, or has no usable row; a table of versions
        has no times and no rule for them, or most events lie before them; or `positive` is not a
        condition on single rows, or is the same for all.
    """
    now = now or datetime.now(UTC)
    items = _screen_entity(dataset, dataset.items, "items", "item_id", now)
    users = None
    if dataset.users is not None:
        users = _screen_entity(dataset, dataset.users, "users", "user_id", now, forgotten)
    known = _known_items(items, posted)
    events = screen_file(dataset, known, now, forgotten)
    live = screen_journal(dataset, journal, events, known, now, forgotten)
    files = [each for each in (items, users, events, live) if each is not None]
    for name in ("users", "events"):
        (rejects / f"{name}.parquet").unlink(missing_ok=True)
    for each in files:
        each.write_rejects(rejects)
    for each in filter(None, (items, users)):
        each.require_rows()
    interactions = usable_events(dataset, events, live)
    _date_versions(items, dataset.items, "item_id", interactions)
    if users is not None and dataset.users is not None:
        _date_versions(users, dataset.users, "user_id", interactions)
    item_table = items.usable(item_profile_schema(dataset, items.table.schema))
    of_items = fold_rows(item_table, "items", posted, {})
    user_table, of_users = None, None
    if users is not None:
        user_table = users.usable(user_profile_schema(dataset, users.table.schema))
        of_users = fold_rows(user_table, "users", posted, {})
        user_table = of_users.rows
    report = ValidationReport(
        read={each.name: each.n_read for each in files},
        rejects={each.name: each.counts for each in files},
        examples={each.name: each.examples for each in files},
        notes=[
            *(note for each in files for note in each.notes),
            *notes_on_unused(dataset, items, users, events, interactions),
            *_notes_on_posted("items", of_items),
            *_notes_on_posted("users", of_users),
        ],
        users_without_profile=_count_without_profile(interactions, user_table),
        valid_until=min(
            (each.earliest_future for each in files if each.earliest_future), default=None
        ),
    )
    return ValidatedData(of_items.rows, user_table, interactions, report, of_items.withdrawn)


def _known_items(items: Screening, posted: Iterable[PostedRow]) -> pa.Array:
    of_file = items.columns["item_id"].filter(pa.array(items.is_usable))
    new = [row.key for row in posted if row.table == "items" and row.change == "put"]
    return pc.unique(pa.chunked_array([of_file, pa.array(new, pa.string())]))


def _notes_on_posted(name: Table, folded: FoldedTable | None) -> list[str]:
    found = {} if folded is None else folded.rejected
    return [
        f"{n:,} posted rows of {name} say nothing any longer: {reason}."
        for reason, n in found.items()
    ]


def _screen_entity(
    dataset: Dataset,
    section: Items | Users,
    name: str,
    key: str,
    now: datetime,
    forgotten: Tombstones | None = None,
) -> Screening:
    source = read_table(section, name, dataset.folder, role_of(section))
    require_rule(source, section, key)
    source = combine_rows(source, section, key)
    times = [name for name in ("event_timestamp", "created") if name in source.table.column_names]
    found = Screening(source, [key, *section.read_columns])
    found.add_key(key)
    if forgotten is not None:
        found.leave_out(forgotten)
    add_time_of_rule(found)
    for time in times:
        found.add_time(time, now)
    for column in section.numeric:
        found.notes += screen_number(found, column)
    if isinstance(section, Items):
        screen_availability(found, section, now)
    reject_repeated(found, section, key)
    return found


def _date_versions(
    found: Screening, section: Items | Users, key: str, interactions: pa.Table
) -> None:
    move_first_versions(found, section, key, interactions)
    check_first_versions(found, section, key, interactions)


def _count_without_profile(interactions: pa.Table, users: pa.Table | None) -> int:
    if users is None:
        return 0
    active = pc.unique(interactions["user_id"])
    return int(np.sum(~np.asarray(pc.is_in(active, value_set=users["user_id"]))))
