"""SIGTERM and SIGINT in a process that serves."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopSignals:
    """SIGTERM and SIGINT: they end the loading at once, and the service when it has finished."""

    def __init__(self) -> None:
        self.is_loading = True
        self.was_asked = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Meanwhile."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._note) for number in numbers]
        try:
            yield
        finally:
            for number, former in zip(numbers, before, strict=True):
                signal.signal(number, former)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        # The server catches signals itself and, when it has finished, raises them again for us.
        self.was_asked = True
        if self.is_loading:
            sys.exit(0)
