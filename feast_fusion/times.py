"""Time as feast-fusion has it everywhere: UTC, microseconds, timezone-aware."""

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")
