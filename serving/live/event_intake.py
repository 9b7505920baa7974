"""The door for live events: checked, journaled before anything else, then applied online."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from feast_fusion.errors import FeastFusionError, StoreUnavailableError
from intake.event import Event
from intake.journal import Journal
from serving.live.acceptance import Acceptance, Submission
from serving.live.event_screening import screen_events
from serving.live.live_event import LiveEvent, Outcome
from serving.live.live_features import LiveFeatures

_BATCH_EVENTS = 1_000
_IDLE_S = 1.0  # how often an idle service looks for a new preparation or an emptied Redis
_GATHER_S = 0.05
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 5.0

_log = logging.getLogger(__name__)


Batch = Sequence[tuple[list[LiveEvent], "Future[None]"]]


class EventIntake(AbstractContextManager["EventIntake"]):
    """Takes live events in, for any number of threads, and applies them in the background.

    Parameters
    ----------
    journal : closed with the intake
    features : applies the events, beginning with what a former process left in the journal
    max_pending : events that may wait in memory; more stay in the journal, and are applied from
        there later
    clock : the time now, aware

    `forgotten` are users of whom no event is accepted.
    """

    def __init__(
        self,
        journal: Journal[Event],
        features: LiveFeatures,
        *,
        max_pending: int = 50_000,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._journal = journal
        self._features = features
        self.forgotten = features.history.forgotten
        self._max_pending = max_pending
        self._clock = clock
        self._changed = threading.Condition()
        self._pending: deque[tuple[list[LiveEvent], Future[None]]] = deque()
        self._n_pending = 0
        # Where the journal's files ended before events that are not applied; by call, in order.
        self._unapplied: dict[object, dict[str, int]] = {}
        # The journal has events that are not pending: at first, events of a former process.
        self._is_behind = True
        self._leaves_out = False  # events that could not be applied
        self._stamp = features.history.stamp
        self._keep_at = -math.inf
        self._is_closing = False
        self._stop_at = math.inf
        self.last_error: str | None = None
        self._applier = threading.Thread(target=self._run, name="event-applier", daemon=True)
        self._applier.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_pending(self) -> int:
        """Events that are accepted and not yet applied; events left to a replay are not counted."""
        return self._n_pending

    def submit(
        self, events: Sequence[Mapping[str, Any]], apply_timeout_s: float = 0.0
    ) -> Submission:
        """What `accept` says, after a wait of at most `apply_timeout_s` for the online store.

        It being down is no error. Raises as `accept`.
        """
        taken = self.accept(events)
        wait([taken.applied], apply_timeout_s)
        return Submission(taken.outcomes, taken.applied.done())

    def accept(self, events: Sequence[Mapping[str, Any]]) -> Acceptance:
        """What became of each event; accepted ones survive a loss of power from here on.

        An event has the string fields user_id and item_id, an event_timestamp (ISO 8601 with its
        zone, or an aware datetime) at most five minutes ahead, and optionally event_id (given one
        if it has none), event_type and value (a number). Others are rejected, not the batch.

        Raises
        ------
        StoreUnavailableError
            The journal cannot be written or the intake is closed: nothing was accepted.
        """
        if self._is_closing:
            raise StoreUnavailableError(
                "event intake: got events after it was closed, expected none. Send them again "
                "when the service is back."
            )
        screened = screen_events(events, self._features.history, self._clock())
        usable = [each.event for each in screened if isinstance(each, LiveEvent)]
        call = Future[None]()
        with self._changed:
            self._unapplied[call] = self._journal.ends
        try:
            is_new = iter(self._journal.append(usable))
        except BaseException:
            with self._changed:
                self._unapplied.pop(call)
            raise
        accepted, outcomes = [], []
        for each in screened:
            if isinstance(each, Outcome):
                outcomes.append(each)
            elif next(is_new):
                accepted.append(each)
                outcomes.append(Outcome("accepted", each.event.event_id))
            else:
                outcomes.append(Outcome("duplicate", each.event.event_id))
        return Acceptance(outcomes, self._enqueue(accepted, call))

    def check(self) -> None:
        """Whether events can be accepted, and rows follow those that were.

        Raises
        ------
        StoreUnavailableError
            The journal cannot be written, or Redis lost something that is not made good yet.
        """
        self._journal.check()
        if self.is_behind:
            raise StoreUnavailableError(
                "online store: got older rows than the journal of events, expected what follows "
                "from all of it. They are being made again."
            )

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The least and the greatest value of the prepared events; None where none has one."""
        return self._features.history.events.value_range

    @property
    def is_behind(self) -> bool:
        """Whether Redis has less than the journal: at first, and when it lost something."""
        return self._features.is_behind

    @property
    def is_refusing(self) -> bool:
        """Whether the journal could not be written when it last was to be."""
        return self._journal.last_error is not None

    def close(self, timeout_s: float = 10.0) -> None:
        """Applies what was accepted, for at most `timeout_s`, and closes the journal.

        What is left then stays in the journal; the next intake applies it. Safe to repeat.
        """
        with self._changed:
            self._is_closing = True
            self._stop_at = min(self._stop_at, time.monotonic() + timeout_s)
            self._changed.notify_all()
        self._applier.join()
        self._journal.close()
        if self._n_pending:
            _log.warning("%d accepted events are left to the next start", self._n_pending)

    def _enqueue(self, events: list[LiveEvent], applied: "Future[None]") -> "Future[None]":
        applied.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        with self._changed:
            if not events:
                self._unapplied.pop(applied)
                applied.set_result(None)
            elif self._n_pending + len(events) > self._max_pending:
                self._unapplied.pop(applied)
                self._is_behind = True
            else:
                self._pending.append((events, applied))
                self._n_pending += len(events)
            self._changed.notify_all()
        return applied

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while self._wait_for_work():
            self._journal.try_again()
            batch = self._next_batch()
            began = time.monotonic()
            try:
                self._apply(batch)
            except FeastFusionError as error:
                if self.last_error is None:
                    _log.warning("Live events wait in the journal: %s", error)
                self.last_error = str(error)
            except Exception:
                # It must not stop all that follow; the events stay in the journal.
                _log.exception("A batch of live events could not be applied")
                self.last_error = "a batch of live events could not be applied; see the log"
                self._leaves_out = True
                self._finish(batch)
            else:
                self.last_error, retry_s = None, _FIRST_RETRY_S
                self._finish(batch)
                if began >= self._keep_at:
                    self._keep_place()
                self._gather(time.monotonic() - began)
                continue
            self._pause(retry_s)
            retry_s = min(2 * retry_s, _LAST_RETRY_S)
        self._keep_place()

    def _keep_place(self) -> None:
        """Keeps how much of the journal is applied; after a preparation a new file begins.

        The next process goes on from there, and what is prepared can be archived.
        """
        self._keep_at = time.monotonic() + _IDLE_S
        if self._features.history.stamp != self._stamp:
            self._stamp = self._features.history.stamp
            self._journal.begin_file()
        with self._changed:
            if self._is_behind or self._leaves_out:
                return
            ends = next(iter(self._unapplied.values()), self._journal.ends)
        try:
            self._features.keep_place(ends)
        except FeastFusionError as error:
            _log.warning("The next start applies events once more: %s", error)

    def _apply(self, batch: Batch) -> None:
        with self._changed:
            was_behind, self._is_behind = self._is_behind, False
        try:
            if was_behind:
                self._features.replay()
                self._leaves_out = False
            elif batch:
                self._features.note_own(self._journal.ends)
                self._features.apply([event for events, _ in batch for event in events])
            else:
                self._features.refresh()
        except BaseException:
            with self._changed:
                self._is_behind |= was_behind
            raise

    def _wait_for_work(self) -> bool:
        """Waits for events, or until it is time to look around; False when it is time to end."""
        with self._changed:
            if not (self._pending or self._is_behind or self._is_closing):
                self._changed.wait(_IDLE_S)
            is_done = not (self._pending or self._is_behind)
            return not self._is_closing or not (is_done or time.monotonic() >= self._stop_at)

    def _next_batch(self) -> Batch:
        """The oldest pending events; they stay pending until `_finish`."""
        batch, n_events = [], 0
        with self._changed:
            for each in self._pending:
                batch.append(each)
                n_events += len(each[0])
                if n_events >= _BATCH_EVENTS:
                    break
        return batch

    def _finish(self, batch: Batch) -> None:
        with self._changed:
            for events, applied in batch:
                self._pending.popleft()
                self._n_pending -= len(events)
                self._unapplied.pop(applied)
                applied.set_result(None)

    def _gather(self, seconds: float) -> None:
        """Lets events gather for as long as the last batch took.

        Many small batches would take processor time from the threads that accept events.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closing or self._n_pending >= _BATCH_EVENTS,
                min(seconds, _GATHER_S),
            )

    def _pause(self, seconds: float) -> None:
        """Waits before the next attempt, not beyond the end of closing."""
        until = time.monotonic() + seconds
        with self._changed:
            while (rest := min(until, self._stop_at) - time.monotonic()) > 0:
                self._changed.wait(rest)
