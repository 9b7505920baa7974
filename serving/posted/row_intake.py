"""The door for posted items and users: checked, journaled, then folded in while others answer."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from filelock import Timeout

from feast_fusion.errors import FeastFusionError, StoreUnavailableError
from intake.given_values import MAX_CHARACTERS, GivenError
from intake.journal import Journal
from intake.posted.posted_row import KEYS, PostedRow, Table
from serving.posted.row_outcome import RowAcceptance, RowOutcome
from serving.posted.row_screening import RowScreening

_IDLE_S = 1.0  # how often an idle service looks for rows that another process has left
_BUSY_S = 0.2  # while the sources are being prepared, or another process folds rows in
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 10.0

_log = logging.getLogger(__name__)


class RowIntake(AbstractContextManager["RowIntake"]):
    """Takes rows in, for any number of threads, and folds them in in the background.

    Of several processes any one folds in what all of them have accepted.

    Parameters
    ----------
    journal : closed with the intake
    fold : brings what the journal has into stores and sources; raises Timeout where somebody else
        is at it
    take_up : lets this process answer from the newest sources
    clock : the time now, aware
    """

    def __init__(
        self,
        journal: Journal[PostedRow],
        screening: RowScreening,
        fold: Callable[[], object],
        take_up: Callable[[], object],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal, self._screening = journal, screening
        self._fold, self._take_up, self._clock = fold, take_up, clock
        self._changed = threading.Condition()
        self._pending: list[Future[None]] = []
        self._is_closing = False
        self.last_error: str | None = None
        self._folder = threading.Thread(target=self._run, name="row-folder", daemon=True)
        self._folder.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what is being folded in; what is left, the next process folds in. Repeatable."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._folder.join()
        self._journal.close()

    @property
    def n_pending(self) -> int:
        """Calls whose rows are accepted, and not in the answers of this process yet."""
        return len(self._pending)

    def put(self, table: Table, rows: Sequence[object]) -> RowAcceptance:
        """New versions of items or users, whole; accepted ones survive a loss of power.

        Raises
        ------
        StoreUnavailableError
            The journal cannot be written or the intake is closed: nothing was accepted.
        FeatureNotFoundError
            The data set has no such table.
        """
        now = self._clock()
        self._screening.columns(table)
        screened = [self._screened(table, given, now) for given in rows]
        return self._accept(screened)

    def patch(self, table: Table, key: str, changes: Mapping[str, Any]) -> RowAcceptance:
        """A new version of an item or user: the newest with some columns changed.

        Raises
        ------
        GivenError
            A value cannot be used.
        StoreUnavailableError, FeatureNotFoundError
            As `put`; or there is no such item or user.
        """
        return self._accept([self._screening.patch(table, key, changes, self._clock())])

    def delete(self, key: str) -> RowAcceptance:
        """Withdraw an item; raises as `patch`."""
        row = self._screening.delete(key, self._clock())
        return self._accept([RowOutcome("duplicate", key) if row is None else row])

    def _screened(self, table: Table, given: object, now: datetime) -> PostedRow | RowOutcome:
        try:
            return self._screening.put(table, given, now)
        except GivenError as error:
            key = given.get(KEYS[table]) if isinstance(given, Mapping) else None
            is_id = isinstance(key, str) and len(key) <= MAX_CHARACTERS
            return RowOutcome("rejected", key if is_id else None, str(error), error.field)

    def _accept(self, screened: Sequence[PostedRow | RowOutcome]) -> RowAcceptance:
        if self._is_closing:
            raise StoreUnavailableError(
                "posted rows: got some after the intake was closed, expected none. Send them again "
                "when the service is back."
            )
        usable = [each for each in screened if isinstance(each, PostedRow)]
        is_new = iter(self._journal.append(usable))
        outcomes = [
            each
            if isinstance(each, RowOutcome)
            else RowOutcome("accepted" if next(is_new) else "duplicate", each.key)
            for each in screened
        ]
        return RowAcceptance(outcomes, self._enqueue(outcomes))

    def _enqueue(self, outcomes: Iterable[RowOutcome]) -> "Future[None]":
        applied = Future[None]()
        applied.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        if all(outcome.status == "rejected" for outcome in outcomes):
            applied.set_result(None)
            return applied
        with self._changed:
            self._pending.append(applied)
            self._changed.notify_all()
        return applied

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while self._wait_for_work():
            self._journal.try_again()
            batch, began = list(self._pending), time.monotonic()
            try:
                self._fold()
                if batch:
                    self._take_up()
            except Timeout:
                self._pause(_BUSY_S)
            except Exception as error:
                # The rows stay in the journal; it must not stop all that follow.
                self._note(error)
                self._pause(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
            else:
                self.last_error, retry_s = None, _FIRST_RETRY_S
                self._finish(batch)
                if batch:  # rows gather meanwhile: each turn costs every process a catalogue
                    self._pause(time.monotonic() - began)

    def _note(self, error: Exception) -> None:
        if self.last_error is None:
            known = isinstance(error, FeastFusionError)
            _log.warning("Posted rows wait in the journal: %s", error, exc_info=not known)
        self.last_error = str(error)

    def _wait_for_work(self) -> bool:
        """Waits for rows, or until it is time to look around; False when it is time to end."""
        with self._changed:
            if not (self._pending or self._is_closing):
                self._changed.wait(_IDLE_S)
            return not self._is_closing

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, seconds)

    def _finish(self, batch: Sequence["Future[None]"]) -> None:
        with self._changed:
            self._pending = self._pending[len(batch) :]
        for applied in batch:
            applied.set_result(None)
