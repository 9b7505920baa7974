"""The encoders of a host, in the one process that has them, at a Unix socket."""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingUnixStreamServer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.host.question import (
    Question,
    answer_of,
    answer_of_error,
    read_question,
)
from feast_fusion.encoding.text_queue import TextQueue, TextQueueStats
from feast_fusion.errors import FeastFusionError

_log = logging.getLogger(__name__)

_PATIENCE_S = 2.0  # with one who asks and then neither sends nor takes
_MOST_CONNECTING = 128


class EncoderHost:
    """Encoders by id, each loaded at its first use. Safe for many threads.

    Queries of all who ask are encoded together by one `TextQueue` per encoder.

    Parameters
    ----------
    open_one : encoder id -> the encoder, loaded; raises where there is no such one
    """

    def __init__(self, open_one: Callable[[str], TextEncoder]) -> None:
        self._open_one = open_one
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()

    @property
    def stats(self) -> TextQueueStats:
        """What all encoders did for queries."""
        with self._lock:
            return sum((each.stats for each in self._asked.values()), TextQueueStats())

    def load(self, encoder_id: str) -> None:
        """Load an encoder before its first use. Raises what `open_one` raises."""
        _ = self._asked_for(encoder_id).queue

    def answer(self, question: Question) -> NDArray[Any]:
        """The array that a question asks for.

        Raises
        ------
        StoreUnavailableError
            As `TextQueue.encode`.
        """
        queue = self._asked_for(question.encoder_id).queue
        if question.wants == "special tokens":
            return np.array([queue.encoder.n_special_tokens])
        if question.wants == "tokens":
            return np.array(queue.encoder.count_tokens(question.texts), dtype=np.int64)
        if question.role == "query":
            return queue.encode(question.texts, question.wait_s)
        return queue.encoder.encode(question.texts, question.role)

    @contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        """Meanwhile questions are answered at a Unix socket, see `Question`."""
        path.unlink(missing_ok=True)  # of a process that died
        with _Server(path, self.answer) as server:
            thread = threading.Thread(target=server.serve_forever, name="encoders", daemon=True)
            thread.start()
            try:
                yield
            finally:
                server.shutdown()

    def _asked_for(self, encoder_id: str) -> "_Asked":
        with self._lock:
            if encoder_id not in self._asked:
                self._asked[encoder_id] = _Asked(partial(self._open_one, encoder_id))
            return self._asked[encoder_id]


class _Asked:
    """An encoder that somebody asked for. While it is being loaded others answer."""

    def __init__(self, open_it: Callable[[], TextEncoder]) -> None:
        self._open_it = open_it
        self._opened: TextQueue | None = None
        self._opening = threading.Lock()

    @property
    def stats(self) -> TextQueueStats:
        return TextQueueStats() if self._opened is None else self._opened.stats

    @property
    def queue(self) -> TextQueue:
        """Of its queries; one that could not be loaded is tried again by the next who asks."""
        with self._opening:
            if self._opened is None:
                self._opened = TextQueue(self._open_it(), "query")
            return self._opened


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = _MOST_CONNECTING

    def __init__(self, path: Path, answer: Callable[[Question], NDArray[Any]]) -> None:
        super().__init__(str(path), _Asking)
        self.answer = answer

    def handle_error(self, request: object, client_address: object) -> None:
        """One who asked has gone, or is no process of ours."""
        _log.warning("a question was not answered: %s", type(sys.exception()).__name__)


class _Asking(BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(_PATIENCE_S)
        question = read_question(self.request)
        try:
            answer = answer_of(self.server.answer(question))
        except Exception as error:
            if not isinstance(error, FeastFusionError):
                _log.exception("texts could not be encoded")
            answer = answer_of_error(error)
        with suppress(BrokenPipeError):  # who asked has given up
            self.request.sendall(answer)
