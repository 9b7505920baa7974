"""From when items and users are known: a time in their table that events agree with, or a rule."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from intake.name_hints import hint_of
from intake.proposal.event_columns import EventColumns
from intake.proposal.questions import Ask, Question
from intake.proposal.roles import Linked
from intake.proposal.seen_column import SeenColumn
from intake.proposal.seen_table import SeenTable
from intake.tables.section import TimeReading
from intake.time_readings import ColumnOf
from intake.timestamps import parse_times

_MOST_SHARE = 0.05
_RULES = {
    "beginning": "every {0} is known before the first event",
    "first_event": "each {0} is known from its first event on",
}


@dataclass(frozen=True)
class KnownFrom:
    """A column of times, from which on the rows of a table hold.

    Attributes
    ----------
    n_early, n_events : events before that time of theirs, and all events that the table describes
    """

    column: SeenColumn
    n_early: int
    n_events: int

    def reason(self, entity: str) -> str:
        """What speaks for the column, and what follows from it."""
        if not self.n_early:
            early = "no event comes before"
        else:
            share = f"{self.n_early / self.n_events:.1%}"
            early = f"{self.n_early:,} of {self.n_events:,} events ({share}) come before"
        return f"{self.column.name} says from when {_a(entity)} is known: {early}."


def find_known_from(
    linked: Linked, log: SeenTable, column: str, events: EventColumns, now: datetime
) -> KnownFrom | None:
    """The column of times of a table before which hardly an event lies; None without one."""
    times = _times(log, events.time, now).rename({"time": "event"})
    frame = times.with_columns(key=pl.Series(log.table[column]).cast(pl.String))
    columns = linked.table.columns.values()
    for each in sorted(columns, key=lambda column: -hint_of(column.name, "known")):
        if each.kind != "time" or each.n_null or not hint_of(each.name, "known"):
            continue
        known = _times(linked.table, each.name, now).with_columns(
            key=pl.Series(linked.table.table[linked.key]).cast(pl.String)
        )
        first = known.group_by("key").agg(pl.col("time").min())
        both = frame.join(first, on="key")
        n_early = len(both.filter(pl.col("event") < pl.col("time")))
        if len(both) and n_early <= _MOST_SHARE * len(both):
            return KnownFrom(each, n_early, len(both))
    return None


def ask_rule(entity: str, table: SeenTable, ask: Ask) -> tuple[str, str]:
    """`valid_from` of a table without such a column, and the reason; `entity` : item or user."""
    unknown = f"No column of {table.label} says from when {_a(entity)} is known."
    choices = "; ".join(f"{rule}: {words.format(entity)}" for rule, words in _RULES.items())
    rule = ask(Question(f"{unknown} Which is true? {choices}", "beginning", tuple(_RULES)))
    other = next(each for each in _RULES if each != rule)
    meant = f'"{rule}": {_RULES[rule].format(entity)}; "{other}": {_RULES[other].format(entity)}.'
    return rule, f"{unknown} {meant}"


def _a(entity: str) -> str:
    return f"an {entity}" if entity == "item" else f"a {entity}"


def _times(table: SeenTable, name: str, now: datetime) -> pl.DataFrame:
    reading = table.columns[name].time or TimeReading()
    if reading.unit is None:
        reading = TimeReading(format=reading.format, zone="UTC")
    column_of = ColumnOf(name, f"{table.label}: column {name!r}", "interactions")
    return pl.DataFrame({"time": parse_times(table.table[name], column_of, now, reading).time})
