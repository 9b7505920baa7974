"""From when the first version of an item or user holds, where its table cannot say it."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from feast_fusion.errors import SchemaError, schema_error
from feast_fusion.times import TIMESTAMP
from intake.screening import Screening
from intake.tables.source_table import SourceTable
from intake.versioned_tables import VersionedSection

BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)
_MOST_SHARE = 0.05
_CHOICES = (
    '`valid_from = "beginning"` in [{0}] lets what is known of {1} hold from the beginning; '
    '`valid_from = "first_event"` lets each be known from its first event on'
)


def require_rule(source: SourceTable, section: VersionedSection, key: str) -> None:
    """Nothing, unless the table has no times and dataset.toml does not say from when rows hold.

    Raises
    ------
    SchemaError
        With both rules explained.
    """
    is_declared = section.valid_from not in (None, "event_timestamp")
    if is_declared or "event_timestamp" in source.table.column_names:
        return
    raise schema_error(
        f"{source.where}: missing columns ['event_timestamp']",
        got=f"columns {source.table.column_names}",
        expected="the time from which a row holds, or a rule for it",
        remedy=f"{_CHOICES.format(source.section, _plural(key))}. A column of such times under "
        f'another name: `columns = {{event_timestamp = "their_name"}}` in [{source.section}].',
    )


def add_time_of_rule(found: Screening) -> None:
    """The time of rows that have none: the beginning, until events say otherwise."""
    if "event_timestamp" not in found.table.column_names:
        found.columns["event_timestamp"] = pa.array([BEGINNING] * len(found.table), TIMESTAMP)


def move_first_versions(
    found: Screening, section: VersionedSection, key: str, events: pa.Table
) -> None:
    """Lets the first version of each key hold as early as `valid_from` says; later ones stay.

    An item without an event is known from the newest event on.

    Parameters
    ----------
    events : usable events, with `key` and event_timestamp
    """
    if section.valid_from in (None, "event_timestamp"):
        return
    frame = _versions(found, key)
    if section.valid_from == "first_event":
        first = _first_events(events, key)
        newest = pl.Series(events["event_timestamp"]).max() if len(events) else BEGINNING
        rule = frame.join(first, on=key, how="left", maintain_order="left")["first_event"]
        rule = rule.fill_null(pl.lit(newest, rule.dtype))
    else:
        rule = pl.Series([BEGINNING], dtype=frame["time"].dtype).new_from_index(0, len(frame))
    has_time = "event_timestamp" in found.table.column_names
    frame = frame.with_columns(rule=rule)
    moved = pl.min_horizontal("time", "rule") if has_time else pl.col("rule")
    is_first = pl.col("time") == pl.col("time").filter(pl.col("is_usable")).min().over(key)
    frame = frame.with_columns(is_first=is_first.fill_null(False), moved=moved)
    for name in ("event_timestamp", "created"):
        if name in found.columns:
            own = pl.Series(found.columns[name])
            moved_to = pl.min_horizontal(own, "moved") if name == "created" else pl.col("moved")
            column = frame.select(pl.when("is_first").then(moved_to).otherwise(own))
            found.columns[name] = column.to_series().to_arrow().cast(TIMESTAMP)


def check_first_versions(
    found: Screening, section: VersionedSection, key: str, events: pa.Table
) -> None:
    """Notes how many events lie before the first version of their item or user.

    Raises
    ------
    SchemaError
        They are more than a small share, and dataset.toml does not say that it is so: training
        would see rows without features, serving with them.
    """
    first = _versions(found, key).filter("is_usable").group_by(key).agg(pl.col("time").min())
    frame = pl.DataFrame({n: pl.Series(events[n]) for n in (key, "event_timestamp")})
    known = frame.join(first, on=key, how="inner", maintain_order="left")
    early = known.filter(pl.col("event_timestamp") < pl.col("time"))
    if not len(early):
        return
    said = _words(found.where, key, len(early), len(known), early.row(0))
    if section.valid_from is None and len(early) > _MOST_SHARE * len(known):
        raise _too_early(said, found.name, key)
    choices = _CHOICES.format(found.name, _plural(key))
    found.notes.append(f"{said[1]}: they have no features then. {choices}.")


def _words(
    where: str, key: str, n_early: int, n_known: int, row: tuple[str, datetime, datetime]
) -> tuple[str, str]:
    name, event, version = row
    word = key.removesuffix("_id")
    return where, (
        f"{n_early:,} of {n_known:,} events ({n_early / n_known:.0%}) lie before the first version "
        f"of their {word}, such as of {name!r} at {event:%F %T}, first known at {version:%F %T}"
    )


def _too_early(said: tuple[str, str], section: str, key: str) -> SchemaError:
    where, words = said
    return schema_error(
        where,
        got=words,
        expected="versions that were known before: training would miss features that serving has",
        remedy="Where event_timestamp says when the table was made or changed, "
        f"{_CHOICES.format(section, _plural(key))}. Where they really were not known: "
        f'`valid_from = "event_timestamp"` in [{section}].',
    )


def _versions(found: Screening, key: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            key: pl.Series(found.columns[key]),
            "time": pl.Series(found.columns["event_timestamp"]),
            "is_usable": np.asarray(found.is_usable),
        }
    )


def _first_events(events: pa.Table, key: str) -> pl.DataFrame:
    frame = pl.DataFrame({n: pl.Series(events[n]) for n in (key, "event_timestamp")})
    return frame.group_by(key).agg(first_event=pl.col("event_timestamp").min())


def _plural(key: str) -> str:
    return f"{key.removesuffix('_id')}s"
