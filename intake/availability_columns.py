"""The columns that say when an item may be recommended, read from its table."""

from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa

from feast_fusion.times import TIMESTAMP
from intake.screening import Screening
from intake.tables.section import TimeReading
from intake.time_readings import ColumnOf
from intake.timestamps import NULL, parse_times
from intake.versioned_tables import Items

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


def screen_availability(found: Screening, section: Items, now: datetime) -> None:
    """Makes the columns of `section.availability`; null is no bound, and not hidden.

    Rows whose time cannot be read, or whose `hidden` is neither true nor false, are rejected.

    Raises
    ------
    SchemaError
        A column is of another type.
    """
    for name in (section.available_from, section.available_until):
        if name is not None:
            _screen_bound(found, name, section.time, now)
    if section.hidden is not None:
        _screen_flag(found, section.hidden)


def _screen_bound(found: Screening, name: str, reading: TimeReading, now: datetime) -> None:
    column_of = ColumnOf(name, f"{found.where}: column {name!r}", found.name)
    parsed = parse_times(found.table[name], column_of, now, reading, is_bound=True)
    is_null = parsed.defects[NULL.format(name)]
    for reason, is_bad in parsed.defects.items():
        if is_bad is not is_null:
            found.reject(is_bad, reason, name)
    found.columns[name] = pa.array(parsed.time, mask=np.asarray(is_null)).cast(TIMESTAMP)


def _screen_flag(found: Screening, name: str) -> None:
    given = pl.Series(name, found.table[name])
    if given.dtype.is_numeric():
        flags = given.cast(pl.Float64).replace_strict({0.0: False, 1.0: True}, default=None)
    else:
        texts = given.cast(pl.String).str.strip_chars().str.to_lowercase()
        flags = texts.replace_strict(_FLAGS, default=None, return_dtype=pl.Boolean)
    is_bad = (flags.is_null() & given.is_not_null()).to_numpy()
    found.reject(is_bad, f"{name} is neither true nor false", name, expected="true or false")
    found.columns[name] = flags.cast(pl.Boolean).to_arrow()
