"""SIGTERM and SIGINT in a process that serves."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_stop_signals(note: Callable[[], object]) -> Iterator[None]:
    """Meanwhile SIGTERM and SIGINT call `note`, and nothing else."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: note()) for number in numbers]
    try:
        yield
    finally:
        for number, former in zip(numbers, before, strict=True):
            signal.signal(number, former)


class StopSignals:
    """What a process was asked: to end the loading at once, or the service when it has finished."""

    def __init__(self) -> None:
        self.is_loading = True
        self.was_asked = False

    def note(self) -> None:
        """One of the signals came."""
        # The server catches signals itself and, when it has finished, raises them again for us.
        self.was_asked = True
        if self.is_loading:
            sys.exit(0)
