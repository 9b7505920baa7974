"""An encoder that another process of this host has."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.host.question import Question
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.text_queue import TextQueueStats

_PART = 64  # texts of one question that nobody waits for
_PART_S = 60.0
_COUNT_S = 5.0


class HostedEncoder(TextEncoder):
    """A `TextEncoder` without weights: it asks the process that has them.

    Parameters
    ----------
    path : Unix socket of the process, see `EncoderHost`
    """

    def __init__(self, identity: EncoderIdentity, path: Path) -> None:
        self.identity = identity
        self._path = path

    @cached_property
    def n_special_tokens(self) -> int:
        """Tokens that the encoder adds to every text."""
        return int(self._ask("special tokens", [], _COUNT_S)[0])

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens and prompt. Raises as `Question.ask`."""
        counts: list[int] = self._ask("tokens", texts, _COUNT_S).tolist()
        return counts

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`. Raises as `Question.ask`."""
        starts = range(0, len(texts), _PART)
        parts = [self.ask_vectors(texts[at : at + _PART], role, _PART_S) for at in starts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *parts])

    def ask_vectors(self, texts: Sequence[str], role: Role, wait_s: float) -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors within `wait_s`. Raises as `Question.ask`."""
        return self._ask("vectors", texts, wait_s, role)

    def _ask(
        self,
        wants: Literal["vectors", "tokens", "special tokens"],
        texts: Sequence[str],
        wait_s: float,
        role: Role = "query",
    ) -> NDArray[Any]:
        return Question(self.encoder_id, wants, wait_s, [*texts], role).ask(self._path)


class HostedQueue:
    """Queries of this process, which the other one encodes together with those of all."""

    stats = TextQueueStats()  # the other process counts

    def __init__(self, encoder: HostedEncoder) -> None:
        self._encoder = encoder

    def encode(self, texts: Sequence[str], wait_s: float) -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`, see `TextQueue.encode`."""
        return self._encoder.ask_vectors(texts, "query", wait_s)
