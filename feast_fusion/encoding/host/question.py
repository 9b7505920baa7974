"""What is asked of the process that has the encoders, and its answer: one of each per connection.

A question is JSON, an answer an array in numpy's format or an error. Nothing is unpickled.
"""

import io
import json
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from feast_fusion import errors
from feast_fusion.encoding.prompts import Role
from feast_fusion.errors import FeastFusionError, StoreUnavailableError

_PIECE = 1 << 16
_ARRAY, _ERROR = b"+", b"-"
_SHORTEST_S = 0.001  # a socket takes 0 for something else


@dataclass(frozen=True)
class Question:
    """What is asked of an encoder about texts.

    Attributes
    ----------
    wants : "vectors": (n, d) float32; "tokens": (n,) int64, see `TextEncoder.count_tokens`;
        "special tokens": (1,) int64, how many it adds to a text
    wait_s : until nobody waits for the answer any longer
    """

    encoder_id: str
    wants: Literal["vectors", "tokens", "special tokens"]
    wait_s: float
    texts: list[str]
    role: Role = "query"

    def ask(self, path: Path) -> NDArray[Any]:
        """The answer of the process that listens at a Unix socket.

        Raises
        ------
        StoreUnavailableError
            It does not answer, or not in time.
        FeastFusionError, RuntimeError
            What it answers instead of an array.
        """
        until = time.monotonic() + self.wait_s
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(max(_SHORTEST_S, self.wait_s))
                client.connect(str(path))
                client.sendall(json.dumps(asdict(self)).encode())
                client.shutdown(socket.SHUT_WR)
                answer = _received(client, until)
        except OSError as error:
            raise self._unanswered(type(error).__name__) from None
        if not answer:
            raise self._unanswered("no byte")
        return _read(answer)

    def _unanswered(self, got: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"encoder {self.encoder_id}: got {got}, expected an answer of the process that encodes "
            f"for this host, within {self.wait_s:g} s. If it has ended it is started again: ask "
            "again later."
        )


def read_question(client: socket.socket) -> Question:
    """The question of one who asks, which is at its end."""
    pieces = []
    while piece := client.recv(_PIECE):
        pieces.append(piece)
    return Question(**json.loads(b"".join(pieces)))


def answer_of(array: NDArray[Any]) -> bytes:
    """An array as an answer."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return _ARRAY + file.getvalue()


def answer_of_error(error: Exception) -> bytes:
    """An error as an answer; of one that is not our own only the type: it may hold a text."""
    if isinstance(error, FeastFusionError):
        return _ERROR + json.dumps([type(error).__name__, str(error)]).encode()
    message = f"got {type(error).__name__} in the process that encodes, expected an answer"
    return _ERROR + json.dumps(["", message]).encode()


def _received(client: socket.socket, until: float) -> bytes:
    pieces = []
    while piece := client.recv(_PIECE):
        pieces.append(piece)
        client.settimeout(max(_SHORTEST_S, until - time.monotonic()))
    return b"".join(pieces)


def _read(answer: bytes) -> NDArray[Any]:
    kind, content = answer[:1], answer[1:]
    if kind == _ERROR:
        name, message = json.loads(content)
        raise getattr(errors, name, RuntimeError)(message)
    found: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return found
