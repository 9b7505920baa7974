"""Waiting in tests: for a condition, never for a time."""

import time
from collections.abc import Callable

PATIENCE_S = 120.0  # a busy machine is slow, not wrong
_POLL_S = 0.005


def wait_until(
    is_so: Callable[[], object], what: str = "the condition", patience_s: float = PATIENCE_S
) -> float:
    """Poll until `is_so()` holds, and fail when it does not in time; the seconds that it took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() < started + patience_s, f"{what}: not within {patience_s} s"
        time.sleep(_POLL_S)
    return time.monotonic() - started
