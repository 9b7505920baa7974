"""Time as feast-fusion has it everywhere: UTC, microseconds, timezone-aware."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch; an instant without a timezone is in UTC."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def from_micros(micros: int) -> datetime:
    """The instant in UTC that is `micros` microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=micros)
