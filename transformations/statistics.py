"""Counts, rates, values and windows of the events of a user or item, as of each instant."""

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from intake.dataset import Activity
from transformations.event_log import DAY_US, SECOND_US, EventLog, Ints


def build_statistics(log: EventLog, activity: Activity, of: str) -> dict[str, pa.Array]:
    """(m,) columns by name: the time, and what is counted of "item" or "user" alike."""
    instants = log.instants
    n_events = instants.end - instants.first
    n_positive = log.n_until(log.positive)
    short, long = (log.n_events_since(days * DAY_US) for days in activity.window_days)
    n_values, (total,) = _value_sums(log, log.value)
    counted = {
        "n_events": pa.array(n_events),
        "n_positive": pa.array(n_positive),
        "positive_rate": pa.array(n_positive / n_events),
        "value_mean": _ratio(total, n_values),
        "n_events_short": pa.array(short),
        "n_events_long": pa.array(long),
        "first_event_s": pa.array(log.time[instants.first] // SECOND_US),
        "last_event_s": pa.array(log.time[instants.start] // SECOND_US),
    }
    named = {f"{of}_{name}": column for name, column in counted.items()}
    return {"event_timestamp": log.stamps_at(), **named}


def build_value_std(log: EventLog) -> pa.Array:
    """Population standard deviation per instant; null where no event had a value.

    Deviations are taken from the key's first value, which leaves the variance as it is and keeps
    the difference of squares from cancelling.
    """
    frame = pl.DataFrame({"key": log.key, "value": log.value}).fill_nan(None)
    first = pl.col("value").drop_nulls().first().over("key")
    deviation = frame.select((pl.col("value") - first).fill_null(0.0))["value"].to_numpy()
    n_values, (total, squares) = _value_sums(log, deviation, deviation**2)
    n = np.maximum(n_values, 1)
    variance = np.maximum(squares / n - (total / n) ** 2, 0.0)
    return _ratio(np.sqrt(variance) * n, n_values)


def _value_sums(
    log: EventLog, *amounts: NDArray[np.float64]
) -> tuple[Ints, list[NDArray[np.float64]]]:
    has_value = ~np.isnan(log.value)
    sums = [log.running(np.where(has_value, amount, 0.0)) for amount in amounts]
    return log.n_until(has_value), sums


def _ratio(total: NDArray[np.float64], count: Ints) -> pa.Array:
    return pa.array(total / np.maximum(count, 1), mask=count == 0)
