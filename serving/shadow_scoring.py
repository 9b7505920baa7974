"""What a version that is not served would have answered, beside what was."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.answers import Recommendations

Ask = Callable[[], Recommendations]

_log = logging.getLogger(__name__)

_WAITING = 100


@dataclass(frozen=True)
class Compared:
    """`n` answers that the shadow gave too, at an instant.

    Attributes
    ----------
    overlap : sum of the shares of an answer's items that the shadow's answer has too
    seconds : sum of the times that the shadow took
    """

    n: int = 0
    overlap: float = 0.0
    seconds: float = 0.0


class ShadowScoring:
    """Asks in the background, one answer at a time, and counts; never delays an answer.

    Attributes
    ----------
    compared : replaced as a whole by each answer, so that its parts always belong together
    n_dropped : answers for which it had no time
    n_failed : answers that it could not give
    """

    def __init__(self) -> None:
        self.compared = Compared()
        self.n_dropped = self.n_failed = 0
        self._waiting: queue.Queue[tuple[Ask, Recommendations] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, ask: Ask, answer: Recommendations) -> None:
        """Compare `answer` with what `ask` gives, unless too many wait already."""
        try:
            self._waiting.put_nowait((ask, answer))
        except queue.Full:
            self.n_dropped += 1

    def close(self) -> None:
        """Finish the answer that is under way; those that wait are dropped."""
        while True:
            try:
                self._waiting.put_nowait(None)
                break
            except queue.Full:
                self._waiting.get()
                self.n_dropped += 1
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            ask, answer = waiting
            started = time.perf_counter()
            try:
                items = {item.item_id for item in ask().items}
            except Exception as error:  # whatever it is: nobody waits for this answer
                log = _log.debug if self.n_failed else _log.warning
                log("models: the shadow could not answer: %s", error)
                self.n_failed += 1
                continue
            seconds = time.perf_counter() - started
            shared = sum(item.item_id in items for item in answer.items)
            before = self.compared
            self.compared = Compared(
                n=before.n + 1,
                overlap=before.overlap + shared / max(1, len(answer.items)),
                seconds=before.seconds + seconds,
            )
