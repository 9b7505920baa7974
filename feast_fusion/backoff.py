"""How long to wait before a server is asked again."""

import random


def backoff_s(attempt: int, retry_after: str | None, *, first_s: float, longest_s: float) -> float:
    """Seconds after the failed attempt `attempt`, counted from 0.

    As the server's Retry-After asks; without one about twice as long each time, by chance a little
    less, so that many who were refused together do not come back together.
    """
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), longest_s)
    return min(first_s * 2.0**attempt, longest_s) * random.uniform(0.5, 1.0)
