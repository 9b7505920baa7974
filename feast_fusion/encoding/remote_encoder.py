"""A server's model as a `TextEncoder`; another model behind the same name is noticed."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from feast_fusion.encoding.embeddings_client import EmbeddingsClient, RequestTooLargeError
from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.encoding.identity import EncoderIdentity
from feast_fusion.encoding.probes import PROBES, require_distinct
from feast_fusion.encoding.prompts import Role
from feast_fusion.encoding.remote_model import RemoteModel, require_same_model
from feast_fusion.errors import schema_error

_CANARY = PROBES[0]
_ASCII_PER_TOKEN = 4


class RemoteEncoder(TextEncoder):
    """Asks a server for vectors, several requests at a time.

    Each request carries one probe more, so that a server whose model changes between two requests
    is noticed before a vector of the other model is kept.

    Raises
    ------
    StoreUnavailableError, SchemaError
        The server does not answer, or not with vectors of at least the declared width.
    """

    n_special_tokens = 2

    def __init__(self, identity: EncoderIdentity, model: RemoteModel) -> None:
        self.identity = identity
        self._model = model
        self._client = EmbeddingsClient(model)
        self._texts_per_request = max(1, model.texts_per_request - 1)  # beside the probe
        self._canary: NDArray[np.float32] | None = None
        probes = self._ask(PROBES)
        require_distinct(probes, model.name)
        self._canary = probes[0]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """About the tokens of each text: the server's tokenizer is not here."""
        return [_count(text) for text in texts]

    def encode(self, texts: Sequence[str], role: Role = "item") -> NDArray[np.float32]:
        """(n, d) L2-normalised vectors in the order of `texts`; (0, d) for none.

        A text is cut at about `max_tokens`, if the user named them.

        Raises
        ------
        StoreUnavailableError, SchemaError
            As `EmbeddingsClient.embed`.
        EncoderMismatchError
            The server has another model than when this encoder was opened.
        """
        prompt = self.identity.prompts.of(role)
        cut = [_cut(prompt + text, self.identity.max_tokens) for text in texts]
        size = self._texts_per_request
        parts = [cut[at : at + size] for at in range(0, len(cut), size)]
        with ThreadPoolExecutor(self._model.n_parallel) as pool:
            done = list(pool.map(self._ask, parts))
        empty = np.empty((0, self.dimension), dtype=np.float32)
        return np.concatenate([empty, *done])

    def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) of one request, or of two halves where the server refuses as many texts."""
        # A lone surrogate is no text that JSON can carry.
        readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        try:
            raw = self._client.embed([_CANARY, *readable])
        except RequestTooLargeError:
            if len(texts) == 1:
                raise
            half = len(texts) // 2
            halves = np.concatenate([self._ask(texts[:half]), self._ask(texts[half:])])
            self._texts_per_request = max(1, min(self._texts_per_request, half))
            return halves
        vectors = self._unit(raw)
        self._require_same(vectors[0])
        return vectors[1:]

    def _unit(self, raw: NDArray[np.float32]) -> NDArray[np.float32]:
        if raw.shape[1] < self.dimension:
            raise schema_error(
                f"{self._model.url} {self._model.name}",
                got=f"vectors of {raw.shape[1]} numbers",
                expected=f"at least the {self.dimension} of [encoder] dimension",
                remedy="Correct dimension, or the name of the model.",
            )
        cut = raw[:, : self.dimension]
        norms = np.linalg.norm(cut, axis=1, keepdims=True)
        unit: NDArray[np.float32] = cut / np.maximum(norms, np.float32(1e-12))
        return unit

    def _require_same(self, canary: NDArray[np.float32]) -> None:
        if self._canary is not None:
            require_same_model(self._model, self._canary[None], canary[None])


def _count(text: str) -> int:
    n_ascii = sum(map(str.isascii, text))
    return -(-n_ascii // _ASCII_PER_TOKEN) + len(text) - n_ascii


def _cut(text: str, max_tokens: int) -> str:
    """The beginning of a text that has about `max_tokens`."""
    if _count(text) <= max_tokens:
        return text
    quarters = chain.from_iterable(
        (1 if character.isascii() else _ASCII_PER_TOKEN,) for character in text
    )
    ends = np.cumsum(np.fromiter(quarters, dtype=np.int64, count=len(text)))
    return text[: int(np.searchsorted(ends, max_tokens * _ASCII_PER_TOKEN, side="right"))]
