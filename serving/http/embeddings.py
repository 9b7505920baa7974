"""Vectors in the shape of OpenAI's embeddings API, so that its clients work unchanged."""

import base64
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from pydantic_core import to_json
from transformers import AutoTokenizer

from feast_fusion.encoding.encoder import describe_encoder
from intake.dataset import Encoder
from serving.http.problems import ProblemError
from serving.http.requests import EmbeddingsRequest

Vectors = NDArray[np.float32]

_AT_ONCE = 8  # so that a query waits for a few texts of a large request, not for all


class Embedding(BaseModel):
    """One vector: numbers, or the base64 of little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens read; an encoder writes none."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the inputs."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str = Field(description="The encoder's id; vectors of two ids must never meet.")
    usage: Usage


class TextEncoding:
    """A data set's encoder as /v1/embeddings needs it.

    Parameters
    ----------
    settings : `[encoder]` of the data set
    encode : n texts -> (n, d) vectors of that encoder
    """

    def __init__(self, settings: Encoder, encode: Callable[[Sequence[str]], Vectors]) -> None:
        self._identity = describe_encoder(settings.model, **settings.options)
        self._names = (None, settings.model, self._identity.encoder_id)
        self._encode = encode
        # Of its own, for the encoder's is busy in other threads; a few megabytes.
        self._tokenizer = AutoTokenizer.from_pretrained(
            self._identity.folder, trust_remote_code=False, local_files_only=True
        )

    def require(self, request: EmbeddingsRequest) -> None:
        """End a request for another model or width, whose vectors would not compare.

        Raises
        ------
        ProblemError
            404 for another model, 422 for another width.
        """
        if request.model not in self._names:
            expected = " or ".join(name for name in self._names if name)
            raise ProblemError(404, f"model: got another one, expected {expected}, or none.")
        if request.dimensions not in (None, self._identity.dimension):
            expected = f"{self._identity.dimension}, the encoder's own"
            raise ProblemError(422, f"dimensions: got another number, expected {expected}.")

    def answer(self, request: EmbeddingsRequest) -> bytes:
        """The body of the answer."""
        texts = request.texts
        parts = [self._encode(texts[at : at + _AT_ONCE]) for at in range(0, len(texts), _AT_ONCE)]
        n_tokens = self._count_tokens(texts)
        data = [
            {"object": "embedding", "index": at, "embedding": _encoded(vector, request)}
            for at, vector in enumerate(np.concatenate(parts))
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        model = self._identity.encoder_id
        return to_json({"object": "list", "data": data, "model": model, "usage": usage})

    def _count_tokens(self, texts: Sequence[str]) -> int:
        """Tokens that the encoder reads: special ones included, what it cuts off not."""
        found = self._tokenizer(list(texts), truncation=True, max_length=self._identity.max_tokens)
        return sum(len(ids) for ids in found["input_ids"])


def _encoded(vector: Vectors, request: EmbeddingsRequest) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
