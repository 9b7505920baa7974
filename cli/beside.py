"""Work in a process beside this one; what it tells on the way is heard with its result.

with beside(fit_model, workspace, seed) as fit:
    ...                      # this process works too
    model = fit(print)       # what it has told and tells goes to `print`
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from feast_fusion.errors import FeastFusionError

T = TypeVar("T")
Tell = Callable[[Any], None]


@contextmanager
def beside(work: Callable[..., T], *arguments: Any) -> Iterator[Callable[[Tell], T]]:
    """Start `work(*arguments, tell)`; yields what waits for its result.

    The process is ended when the block is left before its result is there, and when this process is
    killed. What it raises is raised by the wait.

    Parameters
    ----------
    work : a function of a module, whose last argument takes what it tells; all of it can be pickled
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks of other threads
    heard, told = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(told, work, arguments), daemon=True)
    process.start()
    told.close()

    def result(tell: Tell) -> T:
        while True:
            try:
                kind, value = pickle.loads(heard.recv_bytes())
            except (EOFError, OSError):
                process.join()
                raise FeastFusionError(
                    f"the process of {work.__name__}: got its end with exit code "
                    f"{process.exitcode}, expected a result; -9 is often a want of memory. Run the "
                    "command again: what was finished is kept."
                ) from None
            if kind == "told":
                tell(value)
            elif kind == "raised":
                raise value
            else:
                found: T = value
                return found

    try:
        yield result
    finally:
        process.kill()
        process.join()
        heard.close()


def _run(told: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    threading.Thread(target=_end_with_the_first, daemon=True).start()

    def send(kind: str, value: Any) -> None:
        # Not told.send: it would share the memory of tensors, which ends with this process.
        told.send_bytes(pickle.dumps((kind, value)))

    try:
        send("done", work(*arguments, partial(send, "told")))
    except Exception as error:
        send("raised", error)


def _end_with_the_first() -> None:
    first = multiprocessing.parent_process()
    assert first is not None
    wait([first.sentinel])
    os._exit(1)
