"""Texts of concurrent callers, encoded together: as the queue of text-embeddings-inference."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.prompts import Role
from feast_fusion.errors import EncoderMismatchError, StoreUnavailableError

Vector = NDArray[np.float32]

# Of one batch: what comes meanwhile waits for it. With four times as many, MiniLM encodes short
# texts on one core a tenth faster.
_BATCH_TOKENS = 512
_MOST_WAITING = 1024
# No text is at fault, so encoding each alone would only ask again.
_FAULTS_OF_ALL = (StoreUnavailableError, EncoderMismatchError)


@dataclass(frozen=True)
class TextQueueStats:
    """What a `TextQueue` did since it was made, and holds now.

    Attributes
    ----------
    n_waiting : texts that are in no batch yet
    n_batches, n_texts, encode_s : batches, distinct texts in them, seconds that they took
    """

    n_waiting: int = 0
    n_batches: int = 0
    n_texts: int = 0
    encode_s: float = 0.0

    def __add__(self, other: "TextQueueStats") -> "TextQueueStats":
        return TextQueueStats(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class TextQueue:
    """Encodes what several threads ask for, one batch at a time.

    There is no thread beside the callers': one who finds nobody at work encodes, and hands over to
    one who waits as soon as its own texts are done. A lone caller thus waits for nothing, and
    there is nothing to stop. A batch takes one text of each caller in turn until its tokens are
    spent, so a caller of many texts does not keep one of a single text waiting.

    Parameters
    ----------
    encoder : is used by one thread at a time
    role : of the texts
    batch_tokens : of one batch, unless one text alone has more
    most_waiting : texts that may wait at once; a caller is refused whose texts would be more,
        unless none wait
    """

    def __init__(
        self,
        encoder: TextEncoder,
        role: Role,
        *,
        batch_tokens: int = _BATCH_TOKENS,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        self.encoder = encoder
        self._role: Role = role
        self._batch_tokens = batch_tokens
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._calls: deque[_Call] = deque()  # that have texts in no batch yet
        self._is_led = False
        self._n_batches = self._n_texts = 0
        self._encode_s = 0.0

    @property
    def stats(self) -> TextQueueStats:
        """Counts since the queue was made, and what waits now."""
        with self._lock:
            n_waiting = sum(each.n_left for each in self._calls)
            return TextQueueStats(n_waiting, self._n_batches, self._n_texts, self._encode_s)

    def encode(self, texts: Sequence[str], wait_s: float) -> Vector:
        """(n, d) L2-normalised vectors in the order of `texts`.

        Parameters
        ----------
        wait_s : until the caller gives up, which a batch of its own delays; its texts are taken
            out of the queue

        Raises
        ------
        StoreUnavailableError
            Too many texts wait, or these have waited for too long.
        SchemaError, RuntimeError
            Whatever the encoder raises for one of these texts, or for all.
        """
        call = _Call(texts, self._count(texts), time.monotonic() + wait_s)
        leads = self._join(call)
        if not leads:
            call.woken.wait(wait_s)
            leads = self._wake(call)
        if leads:
            self._lead(call)
        return call.result()

    def _count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text; one that will not share a batch need not be counted."""
        if len(texts) == 1 and not self._is_led:
            return [0]
        special, limit = self.encoder.n_special_tokens, self.encoder.identity.max_tokens
        return [min(n + special, limit) for n in self.encoder.count_tokens(texts)]

    def _join(self, call: "_Call") -> bool:
        """Whether the call, now in the queue, leads."""
        with self._lock:
            n_waiting = sum(each.n_left for each in self._calls)
            if n_waiting and n_waiting + call.n_left > self._most_waiting:
                raise StoreUnavailableError(
                    f"encoder {self.encoder.encoder_id}: got {call.n_left} texts while "
                    f"{n_waiting} wait, expected at most {self._most_waiting} together. Ask again "
                    "later, or of more processes."
                )
            self._calls.append(call)
            leads, self._is_led = not self._is_led, True
            return leads

    def _wake(self, call: "_Call") -> bool:
        """Whether the call leads from now on; one whose time is over leaves the queue instead."""
        with self._lock:
            if not call.woken.is_set():
                self._leave(call)
            return call.leads

    def _leave(self, call: "_Call") -> None:
        call.give_up(self.encoder.encoder_id)
        if call in self._calls:
            self._calls.remove(call)

    def _lead(self, call: "_Call") -> None:
        try:
            while not call.is_done:
                self._encode_batch(call)
        finally:
            self._hand_over(call)

    def _hand_over(self, call: "_Call") -> None:
        with self._lock:
            if call in self._calls:
                self._calls.remove(call)
            self._is_led = bool(self._calls)
            if self._calls:
                self._calls[0].leads = True
                self._calls[0].woken.set()

    def _encode_batch(self, leader: "_Call") -> None:
        with self._lock:
            if time.monotonic() > leader.until:
                self._leave(leader)
                return
            batch = self._take()
        distinct = list(dict.fromkeys(call.texts[row] for call, row in batch))
        began = time.perf_counter()
        try:
            found = dict(zip(distinct, self._encode_apart(distinct), strict=True))
        except BaseException:  # the leader is interrupted, the others are not
            with self._lock:
                self._put_back(batch)
            raise
        with self._lock:
            self._n_batches += 1
            self._n_texts += len(distinct)
            self._encode_s += time.perf_counter() - began
            for call, row in batch:
                call.put(row, found[call.texts[row]])
                if call.is_done and call in self._calls:  # failed before its last text
                    self._calls.remove(call)

    def _take(self) -> "list[tuple[_Call, int]]":
        """Calls and rows of the next batch: one text of each in turn."""
        batch: list[tuple[_Call, int]] = []
        n_tokens = 0
        while self._calls:
            call = self._calls[0]
            n_tokens += call.n_tokens[call.n_taken]
            if batch and n_tokens > self._batch_tokens:
                break
            batch.append((call, call.n_taken))
            call.n_taken += 1
            self._calls.popleft()
            if call.n_left:
                self._calls.append(call)
        return batch

    def _put_back(self, batch: "list[tuple[_Call, int]]") -> None:
        for call, _ in reversed(batch):
            call.n_taken -= 1
            if call not in self._calls and not call.is_done:
                self._calls.appendleft(call)

    def _encode_apart(self, texts: list[str]) -> list[Vector | Exception]:
        """A vector of each text, or the error that it causes: found by halving."""
        try:
            return list(self.encoder.encode(texts, self._role))
        except _FAULTS_OF_ALL as error:
            return [error] * len(texts)
        except Exception as error:
            if len(texts) == 1:
                return [error]
            half = len(texts) // 2
            return self._encode_apart(texts[:half]) + self._encode_apart(texts[half:])


class _Call:
    """The texts of one caller; changed under the queue's lock.

    Attributes
    ----------
    until : the monotonic instant at which the caller gives up
    n_taken : texts that are in a batch or encoded
    leads : whether the caller has to encode
    woken : set when it leads or is done
    """

    def __init__(self, texts: Sequence[str], n_tokens: Sequence[int], until: float) -> None:
        self.texts = texts
        self.n_tokens = n_tokens
        self.until = until
        self.n_taken = 0
        self.leads = False
        self.woken = threading.Event()
        self._vectors: dict[int, Vector] = {}
        self._error: Exception | None = None

    @property
    def n_left(self) -> int:
        return len(self.texts) - self.n_taken

    @property
    def is_done(self) -> bool:
        return self._error is not None or len(self._vectors) == len(self.texts)

    def put(self, row: int, found: Vector | Exception) -> None:
        if isinstance(found, Exception):
            self._error = self._error or found
        else:
            self._vectors[row] = found
        if self.is_done:
            self.woken.set()

    def give_up(self, encoder_id: str) -> None:
        self._error = StoreUnavailableError(
            f"encoder {encoder_id}: got no vector of {len(self.texts)} texts in time, expected "
            "fewer texts at once. Ask again later, or of more processes."
        )

    def result(self) -> Vector:
        if self._error is not None:
            raise self._error
        return np.stack([self._vectors[row] for row in range(len(self.texts))])
