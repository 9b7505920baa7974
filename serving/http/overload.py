"""Calls that are done in time, or end their request with a 503."""

from collections.abc import Callable
from typing import TypeVar

from serving.http.problems import ProblemError
from serving.http.work_queue import DeadlineExceededError, WorkQueue

_T = TypeVar("_T")


async def within(
    queue: WorkQueue, deadline_s: float | None, call: Callable[[], _T], begin_s: float | None = None
) -> _T:
    """The result of `call()`; parameters are those of `WorkQueue.run`.

    Raises
    ------
    ProblemError
        503: it was not done, or not begun, in time.
    """
    try:
        return await queue.run(deadline_s, call, begin_s=begin_s)
    except DeadlineExceededError as error:
        detail = f"The answer was {error}: the service is overloaded. Try again later."
        raise ProblemError(503, detail, headers={"Retry-After": "1"}) from None
