"""Several processes that answer at one port: started, counted, started again, and stopped together.

They are forked from a process that has loaded the code and nothing else, so the code is in memory
once, and no thread or connection is ever copied. One more encodes the texts of all.
"""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.service import Service
from cli.stop_signals import StopSignals, on_stop_signals
from cli.terminal import fail
from feast_fusion.errors import FeastFusionError

_log = logging.getLogger(__name__)

_LOADED_FIRST = ["cli.service_template"]
_FINISH_S = 90.0
_PAUSES_S = (0.0, 1.0, 5.0, 30.0)  # before a process that died early is started again
_EARLY_S = 60.0
_ENCODER = "encoder"
# What loading freed goes back to the system at once: it would stay with each of the processes.
_ALLOCATORS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "1",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0",  # of Polars
}


@dataclass
class _Worker:
    process: ForkServerProcess
    ready: Connection
    started: float
    n_early: int = 0


class ServiceWorkers:
    """`n` processes of one service at a bound socket; `redis` is Feast's connection string.

    The one that encodes starts first and ends last: the others ask it for vectors. A process that
    ends by itself is started again, later and later where it ends early. One that ends before the
    service was ever ready ends it.
    """

    def __init__(self, service: Service, redis: str, listener: socket.socket, n: int) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_LOADED_FIRST)
        for name, value in _ALLOCATORS.items():
            os.environ.setdefault(name, value)  # read when the template starts
        self._service, self._redis, self._listener, self._n = service, redis, listener, n
        self._workers: dict[str, _Worker] = {}
        self._is_stopping = False
        self._woken, self._wake = socket.socketpair()

    def run(self, ready: Callable[[], object]) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called once, when all of them answer.

        Raises
        ------
        FeastFusionError
            One could not start; it has said why.
        """
        with TemporaryDirectory(prefix="feast-fusion-") as folder, on_stop_signals(self._note):
            self._service = self._service.in_folder(Path(folder))
            try:
                if self._start([_ENCODER]) and self._start(map(str, range(self._n))):
                    ready()
                    self._watch()
            finally:
                self._end([name for name in self._workers if name != _ENCODER])
                self._end(self._workers)

    def _start(self, names: Iterable[str]) -> bool:
        """Whether all of these answer; False where the service is stopped before."""
        started = {name: self._started(name) for name in names}
        self._workers |= started
        return self._are_ready(started.values())

    def _started(self, name: str, n_early: int = 0) -> _Worker:
        receives, sends = self._context.Pipe(duplex=False)
        of_service = self._service, self._redis, self._listener
        process = self._context.Process(
            target=_encode if name == _ENCODER else _answer,
            args=(self._service, sends) if name == _ENCODER else (*of_service, sends, name),
            name=f"serve-{name}",
        )
        process.start()
        sends.close()
        return _Worker(process, receives, time.monotonic(), n_early)

    def _are_ready(self, workers: Iterable[_Worker]) -> bool:
        waiting = {worker.ready: worker for worker in workers}
        while waiting:
            for found in wait([*waiting, self._woken]):
                if self._is_stopping:
                    return False
                try:
                    assert isinstance(found, Connection)
                    found.recv()
                    del waiting[found]
                except EOFError:
                    raise FeastFusionError(
                        "serve: got a process that could not start, expected it to answer. Its "
                        "error stands above."
                    ) from None
        return True

    def _watch(self) -> None:
        """Until asked to stop: those that ended are started again."""
        while not self._is_stopping:
            wait([self._woken, *(worker.process.sentinel for worker in self._workers.values())])
            for name, worker in self._workers.items():
                if not self._is_stopping and not worker.process.is_alive():
                    self._restart(name, worker)

    def _restart(self, name: str, worker: _Worker) -> None:
        lived_s = time.monotonic() - worker.started
        n_early = worker.n_early + 1 if lived_s < _EARLY_S else 0
        _log.error(
            "process %s of the service ended (exit code %s) and is started again",
            name,
            worker.process.exitcode,
        )
        wait([self._woken], timeout=_PAUSES_S[min(n_early, len(_PAUSES_S) - 1)])
        if not self._is_stopping:
            self._workers[name] = self._started(name, n_early)

    def _end(self, names: Iterable[str]) -> None:
        workers = [self._workers[name] for name in names]
        for worker in workers:
            if worker.process.is_alive():
                worker.process.terminate()
        until = time.monotonic() + _FINISH_S
        for worker in workers:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _note(self) -> None:
        self._is_stopping = True
        self._wake.send(b"!")


def _answer(
    service: Service, redis: str, listener: socket.socket, sends: Connection, name: str
) -> None:
    """What a process does that answers."""
    from cli.service_process import run_service

    with _as_one_of_many() as stop:
        run_service(service, redis, listener, stop, lambda: sends.send(None), name)


def _encode(service: Service, sends: Connection) -> None:
    """What the process does that encodes."""
    from cli.encoder_process import run_encoders

    with _as_one_of_many():
        run_encoders(service, lambda: sends.send(None))


@contextmanager
def _as_one_of_many() -> Iterator[StopSignals]:
    os.setpgrp()  # Ctrl-C goes to the one that started us, which tells us once
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stop = StopSignals()
    with on_stop_signals(stop.note):
        try:
            yield stop
        except FeastFusionError as error:
            fail(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
