"""Blocking calls on a few threads, each with a deadline, for asynchronous callers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")


class DeadlineExceededError(Exception):
    """A call was not done in time."""


class WorkQueue:
    """Threads of one kind of work.

    The callers bound what waits: the gate limits the requests in flight, and each request has at
    most one call here.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, deadline_s: float, call: Callable[[], _T], *, begin_s: float | None = None
    ) -> _T:
        """The result of `call()`.

        Parameters
        ----------
        begin_s : by when it has to have begun, where the caller has another answer to give

        Raises
        ------
        DeadlineExceededError
            Not begun `begin_s` or not done `deadline_s` from now. A call that has not begun is
            never begun; one that has goes on, its result is dropped.
        """
        future = self._executor.submit(call)
        work = asyncio.wrap_future(future)
        if begin_s is not None:
            await asyncio.wait([work], timeout=begin_s)
            if future.cancel():
                raise DeadlineExceededError(f"not begun within {begin_s * 1000:.0f} ms")
            deadline_s -= begin_s
        try:
            async with asyncio.timeout(deadline_s) as timeout:
                return await work
        except TimeoutError:
            if not timeout.expired():
                raise  # it is the call's own
            raise DeadlineExceededError(f"not done within {deadline_s * 1000:.0f} ms") from None

    def close(self) -> None:
        """Finish what was taken on, then end the threads."""
        self._executor.shutdown(wait=True)
