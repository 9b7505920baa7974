"""What the time and the value of an event can be: more would erase a feature for everyone."""

from datetime import UTC, datetime

from feast_fusion.times import to_micros

# The stores and pandas keep nanoseconds in 64 bits, the years 1678 to 2261; with room to reckon.
EARLIEST_US = to_micros(datetime(1700, 1, 1, tzinfo=UTC))
LATEST_US = to_micros(datetime(2200, 1, 1, tzinfo=UTC))

OUT_OF_RANGE = "{} out of range"

ValueRange = tuple[float, float]


def defect_of_time(time: int) -> str | None:
    """Why an event cannot have happened at `time` (microseconds since the epoch); None if it can.

    Examples
    --------
    >>> defect_of_time(1_700_000_000_000_000)
    >>> defect_of_time(-62_135_596_800_000_000)  # the year 1
    'event_timestamp out of range: the years 1700 to 2199'
    """
    if EARLIEST_US <= time < LATEST_US:
        return None
    return f"{OUT_OF_RANGE.format('event_timestamp')}: the years 1700 to 2199"


def defect_of_value(value: float | None, allowed: ValueRange) -> str | None:
    """Why an event cannot have the value; None if it can, or has none.

    Examples
    --------
    >>> defect_of_value(4.5, (0.5, 5.0))
    >>> defect_of_value(1e308, (0.5, 5.0))
    'value out of range: 0.5 to 5'
    """
    if value is None or allowed[0] <= value <= allowed[1]:
        return None
    return f"{OUT_OF_RANGE.format('value')}: {allowed[0]:g} to {allowed[1]:g}"
