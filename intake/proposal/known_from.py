"""From when items and users are known: a time in their table that events agree with, or a rule."""

from datetime import datetime

import polars as pl

from intake.proposal.event_columns import EventColumns
from intake.proposal.name_hints import hints_at
from intake.proposal.roles import Linked
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable
from intake.tables.section import TimeReading
from intake.time_readings import ColumnOf
from intake.timestamps import parse_times

_MOST_SHARE = 0.05


def known_column(
    linked: Linked, log: SeenTable, column: str, events: EventColumns, now: datetime
) -> SeenColumn | None:
    """The column of times of a table before which hardly an event lies; None without one."""
    times = _times(log, events.time, now).rename({"time": "event"})
    frame = times.with_columns(key=pl.Series(log.table[column]).cast(pl.String))
    for each in linked.table.columns.values():
        if each.kind != "time" or each.n_null or not hints_at(each.name, "known"):
            continue
        known = _times(linked.table, each.name, now).with_columns(
            key=pl.Series(linked.table.table[linked.key]).cast(pl.String)
        )
        first = known.group_by("key").agg(pl.col("time").min())
        both = frame.join(first, on="key")
        if len(both) and (both["event"] < both["time"]).mean() <= _MOST_SHARE:  # type: ignore[operator]
            return each
    return None


def _times(table: SeenTable, name: str, now: datetime) -> pl.DataFrame:
    reading = table.columns[name].time or TimeReading()
    if reading.unit is None:
        reading = TimeReading(format=reading.format, zone="UTC")
    column_of = ColumnOf(name, f"{table.label}: column {name!r}", "interactions")
    return pl.DataFrame({"time": parse_times(table.table[name], column_of, now, reading).time})
