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


class Model(BaseModel):
    """An encoder, by one of its names."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="0: it is named by what it computes, not by when.")
    owned_by: str


class Models(BaseModel):
    """The names of the one encoder."""

    object: Literal["list"] = "list"
    data: list[Model]


class TextEncoding:
    """The embedder of a data set as /v1/embeddings needs it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def require(self, request: EmbeddingsRequest) -> None:
        """End a request for another model, whose vectors would not compare, or for more numbers.

        Raises
        ------
        ProblemError
            404 for another model, 422 for a width that it does not have.
        """
        names, width = self._names, self._embedder.identity.dimension
        if request.model not in (None, *names):
            raise ProblemError(
                404, f"model: got another one, expected {' or '.join(names)}, or none."
            )
        if not 1 <= (request.dimensions or width) <= width:
            raise ProblemError(422, f"dimensions: got another number, expected 1 to {width}.")

    def models(self) -> bytes:
        """The body of the answer that names the encoder."""
        found = [Model(id=name, created=0, owned_by="feast-fusion") for name in self._names]
        return to_json(Models(data=found))

    @property
    def _names(self) -> list[str]:
        """In full, without its owner, and by what it computes."""
        full = self._embedder.workspace.dataset.encoder.model
        return list(
            dict.fromkeys([full, full.rpartition("/")[2], self._embedder.identity.encoder_id])
        )

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
            for at, vector in enumerate(self._vectors(request, wait_s))
        ]
        usage = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        model = self._embedder.identity.encoder_id
        return to_json({"object": "list", "data": data, "model": model, "usage": usage})

    def _vectors(self, request: EmbeddingsRequest, wait_s: float) -> Vectors:
        texts = request.texts
        vectors, present = self._embedder.queries(texts, wait_s)
        absent = np.flatnonzero(~present)
        if len(absent):
            raise ProblemError(
                422,
                f"input: got text {absent[0]} of {len(texts)}, empty without markup and invisible "
                "characters, expected words. Leave it out.",
            )
        if request.dimensions in (None, vectors.shape[1]):
            return vectors
        cut: Vectors = vectors[:, : request.dimensions].copy()
        cut /= np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return cut


def _encoded(vector: Vectors, request: EmbeddingsRequest) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    numbers: list[float] = vector.tolist()
    return numbers
