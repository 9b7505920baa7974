"""Blocking calls on a few threads, each with a deadline, for asynchronous callers."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_T = TypeVar("_T")
_NEWEST = 0.1  # weight of a call in the mean of all


class DeadlineExceededError(Exception):
    """A call was not done in time."""


class WorkQueue:
    """Threads of one kind of work.

    The callers bound what waits: the gate limits the requests in flight, and each request has at
    most one call here. A call runs in the context of its caller: its log lines and spans are those
    of the request.

    Parameters
    ----------
    note_wait : told the seconds for which a call had waited when it began
    """

    def __init__(
        self, name: str, threads: int, note_wait: Callable[[float], None] = lambda seconds: None
    ) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._n_threads = threads
        self._note_wait = note_wait
        self._n_callers = 0
        self._mean_s = 0.0  # that a call takes; the newest weigh most

    @property
    def n_waiting(self) -> int:
        """Calls for which there is no thread."""
        return max(0, self._n_callers - self._n_threads)

    async def run(
        self, deadline_s: float | None, call: Callable[[], _T], *, begin_s: float | None = None
    ) -> _T:
        """The result of `call()`.

        Parameters
        ----------
        deadline_s : None waits for what has begun, however long
        begin_s : by when it has to have begun, where the caller has another answer to give

        Raises
        ------
        DeadlineExceededError
            Not begun `begin_s` or not done `deadline_s` from now, or too many are before it for
            that. A call that has not begun is never begun; one that has goes on, its result is
            dropped.
        """
        n_before = self._n_callers + 1 - self._n_threads
        if begin_s is not None and n_before * self._mean_s / self._n_threads > begin_s:
            raise DeadlineExceededError(f"not to be begun within {begin_s * 1000:.0f} ms")
        self._n_callers += 1
        try:
            return await self._done(deadline_s, call, begin_s)
        finally:
            self._n_callers -= 1

    async def _done(
        self, deadline_s: float | None, call: Callable[[], _T], begin_s: float | None
    ) -> _T:
        future = self._executor.submit(copy_context().run, self._timed, call, time.perf_counter())
        work = asyncio.wrap_future(future)
        if begin_s is not None:
            await asyncio.wait([work], timeout=begin_s)
            if future.cancel():
                raise DeadlineExceededError(f"not begun within {begin_s * 1000:.0f} ms")
        if deadline_s is None:
            return await work
        rest_s = deadline_s - (begin_s or 0.0)
        try:
            async with asyncio.timeout(rest_s) as timeout:
                return await work
        except TimeoutError:
            if not timeout.expired():
                raise  # it is the call's own
            raise DeadlineExceededError(f"not done within {rest_s * 1000:.0f} ms") from None

    def _timed(self, call: Callable[[], _T], submitted: float) -> _T:
        began = time.perf_counter()
        self._note_wait(began - submitted)
        try:
            return call()
        finally:
            self._mean_s += _NEWEST * (time.perf_counter() - began - self._mean_s)

    def close(self) -> None:
        """Finish what was taken on, then end the threads."""
        self._executor.shutdown(wait=True)
