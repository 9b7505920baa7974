"""An encoder that waits, and callers that meet in its queue."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from tests.feast_fusion.encoding.cache_writer import vectors_of

WAIT_S = 60.0


class Held:
    """An encoder whose batches wait until a test lets them go, for real threads to meet.

    A text has as many tokens as characters. `batches` are the texts of each.
    """

    def __init__(self, minilm: TransformerEncoder) -> None:
        self.identity = minilm.identity
        self.encoder_id = "held"
        self.dimension = 16
        self.n_special_tokens = 0
        self.batches: list[list[str]] = []
        self.faults: dict[str, BaseException] = {}
        self._permits = threading.Semaphore(0)
        self.most_at_once = self._at_once = 0

    def let_go(self, n: int = 1000) -> None:
        """Let the next n batches be encoded."""
        self._permits.release(n)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.batches.append(list(texts))
            assert self._permits.acquire(timeout=WAIT_S)
            for text in texts:
                if text in self.faults:
                    raise self.faults[text]
            return vectors_of([role + text for text in texts])
        finally:
            self._at_once -= 1


class Queue(Protocol):
    def encode(self, texts: Sequence[str], wait_s: float) -> NDArray[np.float32]: ...


class Caller(threading.Thread):
    """A thread that asks for texts; `got` are its vectors, `error` is what it was told instead."""

    def __init__(self, queue: Queue, texts: list[str], wait_s: float = WAIT_S) -> None:
        super().__init__(daemon=True)
        self._ask: Callable[[], NDArray[np.float32]] = lambda: queue.encode(texts, wait_s)
        self.texts = texts
        self.got: NDArray[np.float32] | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.got = self._ask()
        except BaseException as error:
            self.error = error

    def is_right(self) -> bool:
        self.join()
        expected = vectors_of([f"query{text}" for text in self.texts])
        return self.got is not None and np.array_equal(self.got, expected)
