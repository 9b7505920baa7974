"""Vectors in the shape of OpenAI's embeddings API, so that its clients work unchanged."""

import base64
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field
from pydantic_core import to_json

from feast_fusion.encoding.vector_cache import Vectors
from serving.http.problems import ProblemError
from serving.http.requests import EmbeddingsRequest
from transformations.embedder import Embedder


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
    """The embedder of a data set as /v1/embeddings needs it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def require(self, request: EmbeddingsRequest) -> None:
        """End a request for another model or width, whose vectors would not compare.

        Raises
        ------
        ProblemError
            404 for another model, 422 for another width.
        """
        identity = self._embedder.identity
        names = (self._embedder.workspace.dataset.encoder.model, identity.encoder_id)
        if request.model not in (None, *names):
            raise ProblemError(
                404, f"model: got another one, expected {' or '.join(names)}, or none."
            )
        if request.dimensions not in (None, identity.dimension):
            expected = f"{identity.dimension}, the encoder's own"
            raise ProblemError(422, f"dimensions: got another number, expected {expected}.")

    def answer(self, request: EmbeddingsRequest, wait_s: float) -> bytes:
        """The body of the answer.

        Parameters
        ----------
        wait_s : until nobody waits for it any longer

        Raises
        ------
        ProblemError
            422 for a text that is empty once it is cleaned.
        StoreUnavailableError
            Too many texts wait, or these have waited for too long.
        """
        texts = request.texts
        n_tokens = self._embedder.count_tokens(texts)
        data = [
            {"object": "embedding", "index": at, "embedding": _encoded(vector, request)}
            for at, vector in enumerate(self._vectors(texts, wait_s))
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        model = self._embedder.identity.encoder_id
        return to_json({"object": "list", "data": data, "model": model, "usage": usage})

    def _vectors(self, texts: list[str], wait_s: float) -> Vectors:
        vectors, present = self._embedder.queries(texts, wait_s)
        absent = np.flatnonzero(~present)
        if len(absent):
            raise ProblemError(
                422,
                f"input: got text {absent[0]} of {len(texts)}, empty without markup and invisible "
                "characters, expected words. Leave it out.",
            )
        return vectors


def _encoded(vector: Vectors, request: EmbeddingsRequest) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
