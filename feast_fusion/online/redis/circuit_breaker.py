"""After a few failures in a row nothing is tried for a while, then by one caller only."""

import threading
import time
from collections.abc import Callable


class CircuitBreaker:
    """Says who may try a store that may be down; safe for many threads.

    Closed, everybody may. After `failures` failed attempts in a row it opens and nobody may; when
    `cooldown_s` has passed it is half open: one caller may, and what that caller finds closes or
    reopens it.

    Parameters
    ----------
    failures : failed attempts in a row that open it
    cooldown_s : seconds between opening and the next attempt
    on_open : called without any lock held whenever it opens; wakes whoever waits for a connection
    clock : seconds that never go back
    """

    def __init__(
        self,
        failures: int,
        cooldown_s: float,
        on_open: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._cooldown_s = cooldown_s
        self._on_open = on_open
        self._clock = clock
        self._lock = threading.Lock()
        self._n_failed = 0
        self._open_until: float | None = None
        self._is_probing = False
        # Every change of state starts a new epoch: what an attempt of an older epoch found is older
        # than the change and must not undo it.
        self._epoch = 0

    @property
    def is_open(self) -> bool:
        """Whether it is open with nobody trying; then waiting for a connection is in vain."""
        return self._open_until is not None and not self._is_probing

    def admit(self) -> int | None:
        """A permit for one attempt, to give to `succeed`, `fail` or `abandon`; None: refused."""
        if self._open_until is None:  # an attempt more is no harm, so no lock on the common path
            return self._epoch
        with self._lock:
            if self._open_until is None:
                return self._epoch
            if self._is_probing or self._clock() < self._open_until:
                return None
            self._is_probing = True
            self._epoch += 1
            return self._epoch

    def succeed(self, permit: int) -> None:
        """The store answered this attempt."""
        if self._n_failed == 0:
            return
        with self._lock:
            if permit != self._epoch:
                return
            self._n_failed = 0
            if self._is_probing:
                self._is_probing, self._open_until = False, None
                self._epoch += 1

    def fail(self, permit: int) -> None:
        """The store did not answer this attempt."""
        with self._lock:
            if permit != self._epoch:
                return
            self._n_failed += 1
            opens = self._is_probing or self._n_failed >= self._failures
            if opens:
                self._is_probing, self._open_until = False, self._clock() + self._cooldown_s
                self._epoch += 1
        if opens:
            self._on_open()

    def abandon(self, permit: int) -> None:
        """This attempt ended without a finding; another one may take its place at once."""
        with self._lock:
            if permit == self._epoch and self._is_probing:
                self._is_probing = False
                self._epoch += 1
